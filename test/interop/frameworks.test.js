// SPDX-License-Identifier: MIT

/**
 * The programs of `lib/FRAMEWORKS.md`, line for line as they stand there, but for the port.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { copyFileSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { FileStore, uploadHandler } from '../../dist/index.js'
import { mistakes } from './frameworks/mistakes.js'
import { assertArrived, dataOf, filesOf, finish, HEADS_BYTES, MB, offsetsOf, startProxy, startUpload, temporaryFolder } from './uploading.js'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const HERE = fileURLToPath(new URL('.', import.meta.url))
const SOURCE = randomBytes(5 * MB)
const PATH = '/api/files/'
const LIMITS = { timeout: 30_000 }
const BODY_CONSUMED = 'The request body was read before it reached the upload handler\n'
const TUS = { 'Tus-Resumable': '1.0.0' }
const APPEND = { ...TUS, 'Content-Type': 'application/offset+octet-stream' }
const RUFH = { 'Upload-Draft-Interop-Version': '8', 'Upload-Complete': '?1' }

const { beginning, frameworks, expect } = readPrograms()

test('the document shows a program for each of the frameworks that are dependencies of this folder', () => {
  assert.deepEqual(Object.keys(frameworks), ['Express', 'Fastify', 'Koa', 'NestJS', 'Hono'])
})

for (const [name, program] of Object.entries(frameworks)) {
  test(`${name}: an upload that is cut, and later hangs and is aborted, arrives whole, and other routes read their bodies`, LIMITS, async (t) => {
    const { dir, port, limits } = await start(t, beginning + program)
    const cuts = [{ atBytes: MB, by: 'FIN' }, { atBytes: 3 * MB, by: 'silence' }]
    const { proxy, endpoint } = await startProxy(t, { port }, { cuts, path: PATH })
    const hangs = new Promise((resolve) => proxy.on('cut', ({ by }) => by === 'silence' && resolve()))

    const running = startUpload(t, endpoint, SOURCE)
    await Promise.race([hangs, running.done])
    await running.upload.abort()
    const storedBytes = await offsetAt(running.upload.url) // a start in the same tick as abort() would run two uploads at once
    running.upload.start()
    const { upload, exchanges } = await finish(running)

    assertArrived(dir, upload, SOURCE)
    const [first, afterCut, ...afterAbort] = offsetsOf(exchanges)
    assert.deepEqual([first, afterAbort], [0, [storedBytes]])
    assert.ok(afterCut > MB - HEADS_BYTES, `all that came before the FIN must be stored: resumed at ${afterCut}`)
    assert.ok(storedBytes > 3 * MB - HEADS_BYTES, `all that came before the silence must be stored: ${storedBytes} bytes were`)

    assert.deepEqual(await postNote(port), { text: 'remember' })
    assert.deepEqual(await limits(), { requestTimeout: 0, headersTimeout: 60_000 })
  })

  test(`${name}: creating, asking, also twice, appending and removing are answered, and so is what the handler refuses`, LIMITS, async (t) => {
    const { dir, port } = await start(t, beginning + program)
    const root = `http://127.0.0.1:${port}${PATH}`

    assert.equal((await fetch(root, { method: 'OPTIONS' })).headers.get('Tus-Version'), '1.0.0')
    const created = await fetch(root, { method: 'POST', headers: { ...APPEND, 'Upload-Length': '11' }, body: 'hello ' })
    assert.deepEqual([created.status, created.headers.get('Upload-Offset')], [201, '6'])
    const url = new URL(created.headers.get('Location'), root)
    assert.equal(url.pathname.slice(0, PATH.length), PATH)
    const wrongType = { ...APPEND, 'Upload-Offset': '6', 'Content-Type': 'application/json' }
    assert.equal((await fetch(url, { method: 'PATCH', headers: wrongType, body: '"world"' })).status, 415)
    const appended = await fetch(url, { method: 'PATCH', headers: { ...APPEND, 'Upload-Offset': '6' }, body: 'world' })
    assert.deepEqual([appended.status, appended.headers.get('Upload-Offset')], [204, '11'])
    assert.equal(dataOf(dir, { url }).toString(), 'hello world')
    assert.equal(await answersOnOneConnection(port, `HEAD ${url.pathname} HTTP/1.1\r\nHost: localhost\r\nTus-Resumable: 1.0.0\r\n\r\n`, 2), 2)
    assert.equal((await fetch(url, { method: 'DELETE', headers: TUS })).status, 204)
    assert.equal((await fetch(url, { method: 'HEAD', headers: TUS })).status, 404)
    assert.deepEqual(filesOf(dir), [])

    const json = '{"text":"remember"}' // whoever parses JSON elsewhere must leave it alone here
    assert.equal((await fetch(root, { method: 'POST', headers: { ...RUFH, 'Content-Type': 'application/json' }, body: json })).status, 200)
    assert.ok(filesOf(dir).some((file) => readFileSync(join(dir, file), 'utf8') === json))
  })

  test(`${name}: at SIGTERM, what has come over Resumable Uploads for HTTP is stored and answered, the program ends, and the next goes on`, LIMITS, async (t) => {
    const { folder, dir, port, stop } = await start(t, beginning + program)
    const sent = SOURCE.subarray(0, 100_000)
    const req = request({ port, path: PATH, method: 'POST', headers: { ...RUFH, 'Content-Length': SOURCE.length } })
    req.on('error', () => {}) // its connection is closed after the answer
    req.flushHeaders()
    const [{ statusCode, headers: { location } }] = await once(req, 'information')
    assert.equal(statusCode, 104)
    await new Promise((resolve) => req.write(sent, resolve))
    const answered = once(req, 'response')
    const ended = stop()
    const [answer] = await answered
    assert.equal(answer.statusCode, 503)
    req.destroy()
    assert.deepEqual(await ended, [0, null])
    const { pathname } = new URL(location, `http://127.0.0.1:${port}`)
    assert.ok(dataOf(dir, { url: `http://127.0.0.1${pathname}` }).equals(sent))

    const next = await start(t, beginning + program, folder)
    const url = `http://127.0.0.1:${next.port}${pathname}`
    const headers = { ...RUFH, 'Upload-Offset': String(sent.length), 'Content-Type': 'application/partial-upload' }
    assert.equal((await fetch(url, { method: 'PATCH', headers, body: SOURCE.subarray(sent.length) })).status, 200)
    assertArrived(dir, { url }, SOURCE)
  })

  test(`${name}: with the listener for Expect, a refusal comes before the body is asked for, and other routes are asked as ever`, LIMITS, async (t) => {
    const { dir, port } = await start(t, beginning + program + expect)
    const refused = await expectContinue(port, PATH, { ...APPEND, 'Upload-Length': '1', 'Content-Length': '11' }, 'hello world')
    assert.deepEqual([refused.continued, refused.status], [false, 413])
    assert.deepEqual(filesOf(dir), [])
    const accepted = await expectContinue(port, PATH, { ...APPEND, 'Upload-Length': '11', 'Content-Length': '11' }, 'hello world')
    assert.deepEqual([accepted.continued, accepted.status], [true, 201])
    const note = await expectContinue(port, '/api/notes', { 'Content-Type': 'application/json', 'Content-Length': '13' }, '{"text":"ab"}')
    assert.deepEqual([note.continued, note.body], [true, '{"text":"ab"}'])
  })

  test(`${name}: behind a parser that takes every body, uploads are refused with 500 and the reason, and nothing is stored`, LIMITS, async (t) => {
    const dir = temporaryFolder(t)
    const port = await listen(t, await mistakes[name](uploadHandler({ store: new FileStore(dir), path: PATH })))
    const root = `http://127.0.0.1:${port}${PATH}`

    const refused = await fetch(root, { method: 'POST', headers: { ...APPEND, 'Upload-Length': '11' }, body: 'hello world' })
    assert.deepEqual([refused.status, await refused.text()], [500, BODY_CONSUMED])
    assert.deepEqual(filesOf(dir), [])

    const created = await fetch(root, { method: 'POST', headers: { ...TUS, 'Upload-Length': '11' } })
    assert.equal(created.status, 201)
    const url = new URL(created.headers.get('Location'), root)
    const appended = await fetch(url, { method: 'PATCH', headers: { ...APPEND, 'Upload-Offset': '0' }, body: 'hello world' })
    assert.deepEqual([appended.status, await appended.text()], [500, BODY_CONSUMED])
    assert.equal(dataOf(dir, { url }).length, 0)
  })
}

/** The blocks of the document: how each program begins, how it goes on in each framework, and what any may add. */
function readPrograms() {
  const document = readFileSync(join(ROOT, 'lib', 'FRAMEWORKS.md'), 'utf8')
  const [[, beginning], ...sections] = document.split(/^## /m).map((section) => {
    const blocks = Array.from(section.matchAll(/^```js\n([^]*?)^```$/gm), ([, code]) => code)
    assert.equal(blocks.length, 1, section)
    return [/^\w+/.exec(section)?.[0], blocks[0]]
  })
  const [, expect] = sections.pop()
  return { beginning, frameworks: Object.fromEntries(sections), expect }
}

/** Runs a program in a folder in which it finds the package, the frameworks and, for NestJS, its module. */
async function start(t, program, folder = makeProject(t)) {
  writeFileSync(join(folder, 'main.js'), program)
  const anyPort = new URL('./frameworks/any-port.js', import.meta.url).href
  const child = fork(join(folder, 'main.js'), { cwd: folder, execArgv: ['--import', anyPort], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  t.after(() => child.kill('SIGKILL'))
  const exit = once(child, 'exit')
  const [port] = await Promise.race([once(child, 'message'), exit.then(([code]) => Promise.reject(new Error(`The program ended with ${code}`)))])
  const stop = () => {
    child.kill('SIGTERM')
    return exit
  }
  const limits = async () => {
    child.send('limits')
    const [answer] = await once(child, 'message')
    return answer
  }
  return { folder, dir: join(folder, 'uploads'), port, stop, limits }
}

function makeProject(t) {
  const folder = temporaryFolder(t)
  mkdirSync(join(folder, 'node_modules'))
  symlinkSync(ROOT, join(folder, 'node_modules', 'longhaul'))
  for (const name of readdirSync(join(HERE, 'node_modules'))) symlinkSync(join(HERE, 'node_modules', name), join(folder, 'node_modules', name))
  copyFileSync(join(HERE, 'frameworks', 'app.module.js'), join(folder, 'app.module.js'))
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  return folder
}

async function listen(t, server) {
  t.after(() => {
    server.close()
    server.closeAllConnections()
  })
  if (!server.listening) await once(server, 'listening')
  return server.address().port
}

async function postNote(port) {
  const headers = { 'Content-Type': 'application/json' }
  const answer = await fetch(`http://127.0.0.1:${port}/api/notes`, { method: 'POST', headers, body: JSON.stringify({ text: 'remember' }) })
  assert.ok(answer.ok)
  return answer.json()
}

/** Posts a body that waits for `100 Continue`. */
async function expectContinue(port, path, headers, body) {
  const req = request({ port, path, method: 'POST', headers: { ...headers, Expect: '100-continue' } })
  let continued = false
  req.on('continue', () => {
    continued = true
    req.end(body)
  })
  req.flushHeaders()
  const [answer] = await once(req, 'response')
  const answered = { continued, status: answer.statusCode, body: await text(answer) }
  req.destroy()
  return answered
}

/** Sends a request so many times at once, and counts the answers until the connection is closed or has brought as many. */
async function answersOnOneConnection(port, head, times) {
  const socket = connect(port, '127.0.0.1')
  socket.write(head.repeat(times))
  let answers = 0
  for await (const chunk of socket.setEncoding('latin1')) {
    answers += chunk.match(/HTTP\/1\.1 200 OK\r\n/g)?.length ?? 0
    if (answers === times) break
  }
  return answers
}

async function offsetAt(url) {
  const answer = await fetch(url, { method: 'HEAD', headers: TUS })
  return Number(answer.headers.get('Upload-Offset'))
}
