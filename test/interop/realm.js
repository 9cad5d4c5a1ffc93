// SPDX-License-Identifier: MIT

/**
 * One upload by the package in a realm of its own, as Jest loads it: `node --experimental-vm-modules realm.js DIR`.
 * There, `Error` is not the one that errors of `node:fs` are made by. Prints what the upload came to.
 *
 * @module
 */

import { readFileSync } from 'node:fs'
import { createContext, runInContext, SourceTextModule, SyntheticModule } from 'node:vm'

const [, , directory] = process.argv
const INDEX = new URL('../../dist/index.js', import.meta.url)
/** What Jest's environment for Node takes from outside, although each realm has its own. */
const SHARED = ['ArrayBuffer', 'Uint8Array']

const context = createContext()
const own = new Set(runInContext('Object.getOwnPropertyNames(globalThis)', context))
for (const name of Object.getOwnPropertyNames(globalThis)) {
  if (!own.has(name) || SHARED.includes(name)) Object.defineProperty(context, name, Object.getOwnPropertyDescriptor(globalThis, name))
}

/** Modules by their address; each is loaded once. */
const loaded = new Map()
const { FileStore, LockFiles, ShutdownGroup, uploadHandler } = await evaluate(INDEX)
const { createServer } = await import('node:http')

const locks = await LockFiles.open(`${directory}/.locks`)
const group = new ShutdownGroup()
const uploads = uploadHandler({ store: new FileStore(directory, { shared: true }), locker: locks, signal: group.signal, download: {} })
const server = createServer((req, res) => group.run(uploads(req, res)))
group.add(server)
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))

const address = `http://127.0.0.1:${server.address().port}`
const tus = { 'Tus-Resumable': '1.0.0' }
const created = await fetch(`${address}/files/`, { method: 'POST', headers: { ...tus, 'Upload-Length': '10' } })
const url = new URL(created.headers.get('Location'), address)
const append = (offset, body) =>
  fetch(url, { method: 'PATCH', headers: { ...tus, 'Upload-Offset': offset, 'Content-Type': 'application/offset+octet-stream' }, body })
const statuses = [created.status]
for (const [offset, body] of [['0', 'hello'], ['0', 'again'], ['5', 'world']]) statuses.push((await append(offset, body)).status)
const content = await (await fetch(url)).text()
statuses.push((await fetch(`${address}/files/${'0'.repeat(32)}`, { method: 'HEAD', headers: tus })).status)
statuses.push((await fetch(url, { method: 'DELETE', headers: tus })).status, (await fetch(url, { method: 'HEAD', headers: tus })).status)
const { forced } = await group.shutdown()
await locks.close()
console.log(JSON.stringify({ statuses, content, forced: forced ?? null }))

async function evaluate(address) {
  const module = load(address.href)
  await module.link((specifier, from) =>
    specifier.startsWith('node:') ? builtin(specifier) : load(new URL(specifier, from.identifier).href),
  )
  await module.evaluate()
  return module.namespace
}

function load(address) {
  const module = loaded.get(address) ?? new SourceTextModule(readFileSync(new URL(address), 'utf8'), { identifier: address, context })
  loaded.set(address, module)
  return module
}

async function builtin(specifier) {
  const namespace = await import(specifier)
  return new SyntheticModule(Object.keys(namespace), function () {
    for (const [name, value] of Object.entries(namespace)) this.setExport(name, value)
  }, { identifier: specifier, context })
}
