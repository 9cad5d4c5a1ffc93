// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { WebSocket } from 'ws'
import { temporaryFolder } from './uploading.js'

const RECIPE = join(import.meta.dirname, 'websocket.js')

/** Starts the recipe, or one made of it; killed after the test. */
async function start(t, path, script = RECIPE) {
  const child = spawn(process.execPath, [script, '0', path], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.after(() => child.kill('SIGKILL'))
  const exit = once(child, 'exit')
  const [line] = await once(createInterface({ input: child.stdout }), 'line')
  return { child, exit, url: `ws://127.0.0.1:${/port: (\d+)/.exec(line)[1]}/` }
}

/** The recipe with each of these texts replaced by the other. */
function recipeWithout(folder, replacements) {
  let code = readFileSync(RECIPE, 'utf8').replace(/(?<=from )'(ws|\.\..*)'/g, (_, name) => JSON.stringify(import.meta.resolve(name)))
  for (const [what, substitute] of replacements) {
    assert.equal(code.split(what).length, 2, `websocket.js must contain once: ${what}`)
    code = code.replace(what, substitute)
  }
  const path = join(folder, 'websocket.mjs')
  writeFileSync(path, code)
  return path
}

test('WebSockets are closed with 1001 when the server stops, and what is saved is what was acknowledged', { timeout: 30_000 }, async (t) => {
  const path = join(temporaryFolder(t), 'messages')
  const { child, exit, url } = await start(t, path)
  const clients = Array.from({ length: 10 }, (_, name) => {
    const socket = new WebSocket(url)
    const client = { name, socket, acknowledged: 0, closed: once(socket, 'close') }
    socket.on('message', () => client.acknowledged++)
    return client
  })
  await Promise.all(clients.map(({ socket }) => once(socket, 'open')))
  for (const { name, socket } of clients) for (let count = 0; count < 100; count++) socket.send(`${name} ${count}`)
  await once(clients[0].socket, 'message')
  const startedAtMs = performance.now()
  child.kill('SIGTERM')
  for (const { closed } of clients) assert.equal((await closed)[0], 1001)
  assert.deepEqual(await exit, [0, null])
  assert.ok(performance.now() - startedAtMs < 5000, 'the deadline is 10 seconds')

  const saved = readFileSync(path, 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line))
  for (const { name, acknowledged } of clients) {
    const expected = Array.from({ length: acknowledged }, (_, count) => `${name} ${count}`)
    assert.deepEqual(saved.filter((message) => message.startsWith(`${name} `)), expected)
  }
})

test('without a word from group.signal WebSockets are cut off at the deadline', { timeout: 30_000 }, async (t) => {
  const folder = temporaryFolder(t)
  const naive = [
    ["  group.signal.addEventListener('abort', leave)\n", ''],
    ['new ShutdownGroup()', 'new ShutdownGroup({ deadlineMs: 200 })'],
  ]
  const { child, url } = await start(t, join(folder, 'messages'), recipeWithout(folder, naive))
  const socket = new WebSocket(url)
  const closed = once(socket, 'close')
  await once(socket, 'open')
  child.kill('SIGTERM')
  assert.equal((await closed)[0], 1006)
})
