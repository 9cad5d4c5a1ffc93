// SPDX-License-Identifier: MIT

/**
 * What the clients of tus do with each status, measured: whether they try again, start over, or give up. The table
 * of lib/REFERENCE.md says the same.
 *
 * One request fails, once; a client that tries again succeeds. `Retry-After` asks for ten minutes: no client waits.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { defaultOptions as defaultOptions4, Upload as Upload4 } from 'tus-js-client'
import { defaultOptions as defaultOptions5, Upload as Upload5 } from 'tus-js-client-5'
import { launchChromium } from './browser/chromium.js'
import { servePage } from './browser/page-server.js'
import { startScriptedServer } from './scripted-server.js'
import { uploadWithTuspy, whyNoTuspy } from './tuspy.js'
import { temporaryFolder } from './uploading.js'

const TEN_BYTES = Buffer.from('0123456789')
const RETRY_DELAYS = [0, 10]
const DEFAULT_RETRY_DELAYS = [0, 1000, 3000, 5000]
const LIMITS = { timeout: 60_000 }

/** What the server answers, what hooks and proxies may answer besides, and a connection that is cut. */
const STATUSES = [
  400, 401, 403, 404, 405, 408, 409, 410, 412, 413, 415, 421, 422, 423, 429, 431, 460,
  500, 501, 502, 503, 504, 507, 'reset',
]
const SERVER_FAULTS = [500, 501, 502, 503, 504, 507]
const TRANSIENT = [409, 423, ...SERVER_FAULTS, 'reset']

/** The requests that fail, and how a client comes to send them. */
const REQUESTS = {
  'POST': (status) => [{ method: 'POST', status }],
  'PATCH': (status) => [{ method: 'PATCH', status }],
  'HEAD after a failed PATCH': (status) => [{ method: 'PATCH', status: 500 }, { method: 'HEAD', status }],
  'HEAD of a stored address': (status) => [{ method: 'HEAD', status }],
  'DELETE': (status) => [{ method: 'PATCH', status: 'silence' }, { method: 'DELETE', status }],
}

test('tus-js-client 4 retries 409, 423, 5xx and cuts; unless HEAD is answered 2xx or 423, or cut, it starts over', LIMITS, async (t) => {
  const measured = await measure(t, REQUESTS, (cases) => Promise.all(cases.map((one) => runTusJsClient(Upload4, one))))

  assert.deepEqual(measured, {
    'POST': byStatus('gives up', { 'retries': TRANSIENT }),
    'PATCH': byStatus('gives up', { 'retries': TRANSIENT }),
    'HEAD after a failed PATCH': byStatus('starts over', { 'retries': [423, 'reset'] }),
    'HEAD of a stored address': byStatus('starts over', { 'retries': [423, 'reset'] }),
    'DELETE': byStatus('gives up', { 'retries': TRANSIENT }),
  })
  assert.deepEqual(defaultOptions4.retryDelays, DEFAULT_RETRY_DELAYS)
})

test('tus-js-client 5 does as 4, but when it has started over, it reports success and then an error, or success twice', LIMITS, async (t) => {
  const measured = await measure(t, REQUESTS, (cases) => Promise.all(cases.map((one) => runTusJsClient(Upload5, one))))

  const afterHead = byStatus('starts over, reports success and error', {
    'starts over, reports success and success': [409, ...SERVER_FAULTS],
    'retries': [423, 'reset'],
  })
  assert.deepEqual(measured, {
    'POST': byStatus('gives up', { 'retries': TRANSIENT }),
    'PATCH': byStatus('gives up', { 'retries': TRANSIENT }),
    'HEAD after a failed PATCH': afterHead,
    'HEAD of a stored address': afterHead,
    'DELETE': byStatus('gives up', { 'retries': TRANSIENT }),
  })
  assert.deepEqual(defaultOptions5.retryDelays, DEFAULT_RETRY_DELAYS)
})

test('Uppy does as tus-js-client 4, and retries 429 as well; 421 is retried by Chromium', LIMITS, async (t) => {
  const page = await openPage(t)

  const measured = await measure(t, REQUESTS, (cases) => Promise.all(cases.map((one) => runUppy(page, one))))

  assert.deepEqual(measured, {
    'POST': byStatus('gives up', { 'retries': [...TRANSIENT, 421, 429] }),
    'PATCH': byStatus('gives up', { 'retries': [...TRANSIENT, 421, 429] }),
    'HEAD after a failed PATCH': byStatus('starts over', { 'retries': [421, 423, 'reset'] }),
    'HEAD of a stored address': byStatus('starts over', { 'retries': [421, 423, 'reset'] }),
    'DELETE': byStatus('gives up', { 'retries': [...TRANSIENT, 421, 429] }),
  })
})

test('tuspy, if told to retry, retries any failure of PATCH and of the HEAD after it, and none of another request', { ...LIMITS, skip: whyNoTuspy() }, async (t) => {
  const file = join(temporaryFolder(t), 'ten-bytes')
  writeFileSync(file, TEN_BYTES)
  const { DELETE: _, ...requests } = REQUESTS // it sends none

  const measured = await measure(t, requests, async (cases) => {
    const results = await uploadWithTuspy(t, cases.map(({ endpoint, stored }) => ({ endpoint, file, stored })))
    return results.map(({ result }) => [result])
  })

  assert.deepEqual(measured, {
    'POST': byStatus('gives up'),
    'PATCH': byStatus('retries'),
    'HEAD after a failed PATCH': byStatus('retries'),
    'HEAD of a stored address': byStatus('gives up'),
  })
})

/** An outcome for each status: `otherwise`, except for those that are listed with another. */
function byStatus(otherwise, exceptions = {}) {
  const outcomes = Object.fromEntries(STATUSES.map((status) => [status, otherwise]))
  for (const [outcome, statuses] of Object.entries(exceptions)) {
    for (const status of statuses) outcomes[status] = outcome
  }
  return outcomes
}

/**
 * Fails each request with each status, all at once.
 *
 * @param {(cases: readonly object[]) => Promise<string[][]>} run resolves with what the client reported to its user in each case
 * @returns what the client did, by request and status
 */
async function measure(t, requests, run) {
  const cases = await Promise.all(Object.entries(requests).flatMap(([request, faults]) => STATUSES.map(async (status) => {
    const server = await startScriptedServer(t, faults(status))
    const stored = request === 'HEAD of a stored address' ? server.stored : undefined
    return { request, status, server, endpoint: server.endpoint, stored }
  })))
  const reports = await run(cases)
  const measured = {}
  for (const [index, { request, status, server }] of cases.entries()) {
    assert.deepEqual(server.pending, [], `${request} must have been failed with ${status}: ${server.log}`)
    measured[request] ??= {}
    measured[request][status] = outcomeOf(request, server.log, reports[index])
  }
  return measured
}

/** What a client did after the last fault, in a word or two. */
function outcomeOf(request, log, reports) {
  const after = log.slice(log.findLastIndex((entry) => !/^[A-Z]+$/.test(entry)) + 1)
  const told = reports.join(' and ')
  if (after.length === 0) return told === 'error' ? 'gives up' : `does nothing, reports ${told}`
  const does = request !== 'POST' && after.includes('POST') ? 'starts over' : 'retries'
  return told === 'success' ? does : `${does}, reports ${told}`
}

async function runTusJsClient(Upload, { request, endpoint, stored, server }) {
  const reports = []
  await new Promise((resolve) => {
    const report = (word) => () => {
      reports.push(word)
      resolve()
    }
    const options = { endpoint, retryDelays: RETRY_DELAYS, onSuccess: report('success'), onError: report('error') }
    const upload = new Upload(TEN_BYTES, { ...options, ...(stored ? { uploadUrl: stored } : {}) })
    upload.start()
    if (request !== 'DELETE') return
    server.silent.then(() => upload.abort(true)).then(report('success'), report('error'))
  })
  await sleep(200) // nothing tells that no second report follows, as one of tus-js-client 5 does
  return reports
}

async function runUppy(page, { request, endpoint, stored, server }) {
  const options = { endpoint, retryDelays: RETRY_DELAYS, ...(stored ? { uploadUrl: stored } : {}) }
  const uploaded = page.evaluate((options) => uploadTenBytes(options), options)
  if (request !== 'DELETE') return [await uploaded]
  await server.silent
  return [await Promise.race([page.evaluate((endpoint) => cancelTenBytes(endpoint), endpoint), server.deleted])]
}

async function openPage(t) {
  const { outputFiles: [script] } = await build({
    entryPoints: [fileURLToPath(new URL('browser/scripted-page.js', import.meta.url))], bundle: true, format: 'esm', write: false,
  })
  const browser = await launchChromium()
  t.after(() => browser.close())
  const page = await browser.newPage()
  await page.goto(`http://127.0.0.1:${await servePage(t)}/`)
  await page.addScriptTag({ type: 'module', content: script.text })
  return page
}
