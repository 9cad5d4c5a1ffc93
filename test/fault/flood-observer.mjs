// SPDX-License-Identifier: MIT

/**
 * A thread that watches a server during a flood. It is a well-behaved client, which makes one
 * small upload after the other and measures how long each answer takes. It also counts the
 * descriptors of the process.
 *
 * It has a thread of its own because the flood keeps the test's own thread busy. That would count
 * as a slow answer of the server.
 */

import { readdirSync } from 'node:fs'
import { request } from 'node:http'
import { connect } from 'node:http2'
import { setTimeout as delay } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'

const { port, pid, version } = workerData
const PAUSE_MS = 50
const SAMPLE_MS = 20
/** An answer that takes longer counts as none. */
const PATIENCE_MS = 60_000
const BODY = Buffer.from('a few bytes')

let stopped = false
let descriptors = 0
let slowestAnswerMs = 0
/** How often each status came, or the code of the error that came in its place. */
const statuses = {}

parentPort.once('message', () => (stopped = true))
const sampling = setInterval(() => {
  try {
    descriptors = Math.max(descriptors, readdirSync(`/proc/${pid}/fd`).length)
  } catch {} // it has ended
}, SAMPLE_MS)

while (!stopped) {
  await visit()
  parentPort.postMessage('visited')
  await delay(PAUSE_MS)
}
clearInterval(sampling)
parentPort.postMessage({ descriptors, slowestAnswerMs, statuses })
parentPort.close()

/** Makes an upload, fills it, and asks where it stands. */
async function visit() {
  const made = await ask('POST', '/files/', { 'upload-length': BODY.length })
  if (made.status !== 201) return
  const path = new URL(made.headers.location, 'http://localhost').pathname
  await ask('PATCH', path, { 'content-type': 'application/offset+octet-stream', 'upload-offset': 0 }, BODY)
  await ask('HEAD', path, {})
}

async function ask(method, path, headers, body) {
  const startMs = performance.now()
  const exchange = version === 2 ? exchangeHttp2 : exchangeHttp1
  const answer = await exchange(method, path, { 'tus-resumable': '1.0.0', ...headers }, body)
    .catch((error) => ({ status: error.code ?? error.message }))
  slowestAnswerMs = Math.max(slowestAnswerMs, performance.now() - startMs)
  statuses[answer.status] = (statuses[answer.status] ?? 0) + 1
  return answer
}

function exchangeHttp1(method, path, headers, body) {
  return new Promise((resolve, reject) => {
    const req = request({ host: '127.0.0.1', port, method, path, headers, agent: false, timeout: PATIENCE_MS })
    req.on('response', (res) => {
      res.resume().on('error', () => {})
      res.on('close', () => resolve({ status: res.statusCode, headers: res.headers }))
    })
    req.on('timeout', () => req.destroy(new Error('no answer')))
    req.on('error', reject)
    req.end(body)
  })
}

function exchangeHttp2(method, path, headers, body) {
  return new Promise((resolve, reject) => {
    const session = connect(`http://127.0.0.1:${port}`)
    session.on('error', reject)
    const stream = session.request({ ':method': method, ':path': path, ...headers }, { endStream: body === undefined })
    stream.on('response', ({ ':status': status, ...fields }) => resolve({ status, headers: fields }))
    stream.on('error', reject)
    stream.on('close', () => {
      reject(new Error('no answer')) // unless it came
      session.close()
    })
    if (body) stream.end(body)
    stream.resume()
    stream.setTimeout(PATIENCE_MS, () => stream.close())
  })
}
