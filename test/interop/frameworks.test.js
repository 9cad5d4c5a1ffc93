// SPDX-License-Identifier: MIT

/**
 * The programs of `lib/FRAMEWORKS.md`, line for line as they stand there, but for the port.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { execFile, fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { FileStore, uploadHandler } from '../../dist/index.js'
import { mistakes } from './frameworks/mistakes.js'
import {
  assertArrived,
  dataOf,
  filesOf,
  finish,
  HEADS_BYTES,
  MB,
  offsetsOf,
  startProxy,
  startUpload,
  temporaryFolder,
} from './uploading.js'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const HERE = fileURLToPath(new URL('.', import.meta.url))
const NEXT = join(HERE, 'node_modules', 'next', 'dist', 'bin', 'next')
const ENVIRONMENT = { ...process.env, NODE_ENV: 'production', NEXT_TELEMETRY_DISABLED: '1' }
const SOURCE = randomBytes(5 * MB)
const PATH = '/api/files/'
const LIMITS = { timeout: 30_000 }
const BODY_CONSUMED = 'The request body was already read: mount the upload handler before any body parser\n'
const TUS = { 'Tus-Resumable': '1.0.0' }
const APPEND = { ...TUS, 'Content-Type': 'application/offset+octet-stream' }
const RUFH = { 'Upload-Draft-Interop-Version': '8', 'Upload-Complete': '?1' }

const NEST = 'NestJS 12 on Express'
/** Next gets no upload, so it has no parser that could take one. */
const CUSTOM_SERVER = 'Next.js 16'
/** `next start` has a server of its own, and ends the process itself. */
const PAGES_API = 'Next.js 16 in `pages/api`'

const { beginning, recipes, expect } = readPrograms()
/** A project of Next.js that is built once. */
const built = mkdtempSync(join(tmpdir(), 'longhaul-interop-next-'))

before(buildNext, { timeout: 120_000 })
after(() => rmSync(built, { recursive: true, force: true }))

test('the document shows a program for each of the frameworks that are dependencies of this folder', () => {
  const names = ['Express 5', 'Express 4', 'Fastify 5', 'Koa 3', NEST, 'Hono 4 on Node', 'h3 2', 'h3 1', CUSTOM_SERVER, PAGES_API]
  assert.deepEqual([...recipes.keys()], names)
})

for (const [name, program] of recipes) {
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
    const creation = { method: 'POST', headers: { ...APPEND, 'Upload-Length': '11' }, body: 'hello ' }
    const created = await fetch(root, { ...creation, redirect: 'error' }) // not all clients follow redirects
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
    const { location, answered } = await uploadPart(port, sent)
    const ended = stop()
    assert.equal(await answered, 503)
    assert.deepEqual(await ended, [name === PAGES_API ? 143 : 0, null])
    const { pathname } = new URL(location, `http://127.0.0.1:${port}`)
    assert.ok(dataOf(dir, { url: `http://127.0.0.1${pathname}` }).equals(sent))

    const next = await start(t, beginning + program, folder)
    const url = `http://127.0.0.1:${next.port}${pathname}`
    const headers = { ...RUFH, 'Upload-Offset': String(sent.length), 'Content-Type': 'application/partial-upload' }
    assert.equal((await fetch(url, { method: 'PATCH', headers, body: SOURCE.subarray(sent.length) })).status, 200)
    assertArrived(dir, { url }, SOURCE)
  })

  if (name !== PAGES_API) test(`${name}: with the listener for Expect, a refusal comes before the body is asked for, and other routes are asked as ever`, LIMITS, async (t) => {
    const { dir, port } = await start(t, beginning + program + expect)
    const refused = await expectContinue(port, PATH, { ...APPEND, 'Upload-Length': '1', 'Content-Length': '11' }, 'hello world')
    assert.deepEqual([refused.continued, refused.status], [false, 413])
    assert.deepEqual(filesOf(dir), [])
    const accepted = await expectContinue(port, PATH, { ...APPEND, 'Upload-Length': '11', 'Content-Length': '11' }, 'hello world')
    assert.deepEqual([accepted.continued, accepted.status], [true, 201])
    const note = await expectContinue(port, '/api/notes', { 'Content-Type': 'application/json', 'Content-Length': '13' }, '{"text":"ab"}')
    assert.deepEqual([note.continued, note.body], [true, '{"text":"ab"}'])
  })

  if (name !== CUSTOM_SERVER) test(`${name}: behind a parser that takes every body, uploads are refused with 500 and the reason, and nothing is stored`, LIMITS, async (t) => {
    const dir = temporaryFolder(t)
    const port = await listen(t, await mistakes[name](uploadHandler({ store: new FileStore(dir), path: PATH }), built))
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

test(`${NEST}: its shutdown hooks run after the uploads are saved and answered`, LIMITS, async (t) => {
  const { folder, port, stop } = await start(t, beginning + recipes.get(NEST) + `
    import { writeFileSync } from 'node:fs'
    import { NotesController } from './app.module.js'
    const ran = []
    const notes = app.get(NotesController)
    notes.onModuleDestroy = () => ran.push(['onModuleDestroy', group.state])
    notes.onApplicationShutdown = (signal) => ran.push(['onApplicationShutdown', group.state, signal])
    process.on('exit', () => writeFileSync('ran.json', JSON.stringify(ran)))
  `)
  const { answered } = await uploadPart(port, SOURCE.subarray(0, 100_000))
  const ended = stop()
  assert.equal(await answered, 503)
  assert.deepEqual(await ended, [0, null])
  const ran = JSON.parse(readFileSync(join(folder, 'ran.json'), 'utf8'))
  assert.deepEqual(ran, [['onModuleDestroy', 'closed'], ['onApplicationShutdown', 'closed', 'SIGTERM']])
})

/** The blocks of the document: how each program begins, how it goes on in each framework, and what any may add. */
function readPrograms() {
  const document = readFileSync(join(ROOT, 'lib', 'FRAMEWORKS.md'), 'utf8')
  const [[, beginning], ...sections] = document.split(/^## /m).flatMap((section) => {
    const blocks = Array.from(section.matchAll(/^```js\n([^]*?)^```$/gm), ([, code]) => code)
    const [title] = /^.+/.exec(section)
    assert.equal(blocks.length, title === '`Request` and `Response`' ? 0 : 1, section)
    return blocks.map((block) => [title, block])
  })
  const [, expect] = sections.pop()
  const recipes = sections.flatMap(([title, program]) => {
    if (title === 'h3 1') return [[title, program.replace("'h3'", "'h3-1'")]]
    if (title !== 'Express 5 and 4') return [[title, program]]
    return [['Express 5', program], ['Express 4', program.replace("'express'", "'express-4'")]]
  })
  return { beginning, recipes: new Map(recipes), expect }
}

/** Builds a project of Next.js with the page of the document, beside a route of the app router. */
async function buildNext() {
  fillProject(built)
  cpSync(join(HERE, 'frameworks', 'next'), built, { recursive: true })
  mkdirSync(join(built, 'pages', 'api', 'files'))
  writeFileSync(join(built, 'pages', 'api', 'files', '[[...path]].js'), beginning + recipes.get(PAGES_API))
  await promisify(execFile)(process.execPath, [NEXT, 'build', '--webpack'], { cwd: built, env: ENVIRONMENT }) // Turbopack wants no links
}

/** Runs a program in a folder in which it finds the package, the frameworks and what they need. */
async function start(t, program, folder = makeProject(t)) {
  writeFileSync(join(folder, 'main.js'), program)
  const anyPort = new URL('./frameworks/any-port.js', import.meta.url).href
  const [main, ...args] = program === beginning + recipes.get(PAGES_API) ? [NEXT, 'start'] : [join(folder, 'main.js')]
  const options = { cwd: folder, env: ENVIRONMENT, execArgv: ['--import', anyPort], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] }
  const child = fork(main, args, options)
  t.after(() => child.kill('SIGKILL'))
  const exit = once(child, 'exit')
  const [port] = await Promise.race([
    once(child, 'message'),
    exit.then(([code]) => Promise.reject(new Error(`The program ended with ${code}`))),
  ])
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
  fillProject(folder)
  symlinkSync(join(built, '.next'), join(folder, '.next'))
  copyFileSync(join(built, 'next.config.js'), join(folder, 'next.config.js'))
  return folder
}

function fillProject(folder) {
  mkdirSync(join(folder, 'node_modules'))
  symlinkSync(ROOT, join(folder, 'node_modules', 'longhaul'))
  for (const name of readdirSync(join(HERE, 'node_modules'))) {
    symlinkSync(join(HERE, 'node_modules', name), join(folder, 'node_modules', name))
  }
  copyFileSync(join(HERE, 'frameworks', 'app.module.js'), join(folder, 'app.module.js'))
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
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

/** Begins an upload, sends this part of `SOURCE`, and goes on no further. `answered` resolves with the final status. */
async function uploadPart(port, part) {
  const req = request({ port, path: PATH, method: 'POST', headers: { ...RUFH, 'Content-Length': SOURCE.length } })
  req.on('error', () => {}) // its connection is closed after the answer
  req.flushHeaders()
  const [{ statusCode, headers: { location } }] = await once(req, 'information')
  assert.equal(statusCode, 104)
  await new Promise((resolve) => req.write(part, resolve))
  const answered = once(req, 'response').then(([answer]) => {
    req.destroy()
    return answer.statusCode
  })
  return { location, answered }
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
