// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { launchChromium } from './browser/chromium.js'
import { servePage } from './browser/page-server.js'
import { npmStart } from './npm-start.js'
import { assertArrived, filesOf, HEADS_BYTES, MB, offsetsOf, startProxy, temporaryFolder } from './uploading.js'

const SOURCE = randomBytes(20 * MB)
const LIMITS = { timeout: 60_000 }
let browser

before(async () => {
  browser = await launchChromium()
})
after(() => browser?.close())

// After a cut Chromium sends a request again by itself, at once. That takes the upload over while bytes of the first
// are still on their way, so how many count is not known exactly here; tus-js-client in Node, which waits, is.

test('An upload by Uppy in one request, cut by FIN and by RST, resumes each time and arrives whole', LIMITS, async (t) => {
  const cuts = [{ atBytes: 7 * MB, by: 'FIN' }, { atBytes: 14 * MB, by: 'RST' }]
  const { dir, page, proxy, endpoint, exchanges } = await openPage(t, { cuts })

  const url = await page.evaluate((options) => uploadChosenFile(options), { endpoint })

  assertArrived(dir, { url }, SOURCE)
  assert.deepEqual(proxy.made, cuts)
  const resumed = offsetsOf(exchanges).filter((offset) => offset > 0)
  assert.ok(resumed[0] > 0 && resumed[0] < 7 * MB, `what came before the FIN must be stored: resumed at ${resumed[0]}`)
})

test('An upload by Uppy in chunks, cut by FIN and by RST, resumes each time and arrives whole', LIMITS, async (t) => {
  const cuts = [{ atBytes: 7 * MB, by: 'FIN' }, { atBytes: 14 * MB, by: 'RST' }]
  const { dir, page, proxy, endpoint, exchanges } = await openPage(t, { cuts })

  const url = await page.evaluate((options) => uploadChosenFile(options), { endpoint, chunkSize: 5 * MB })

  assertArrived(dir, { url }, SOURCE)
  assert.deepEqual(proxy.made, cuts)
  const offsets = offsetsOf(exchanges)
  assert.deepEqual(offsets.slice(0, 2), [0, 5 * MB])
  assert.ok(offsets.some((offset) => offset > 5 * MB && offset < 7 * MB), `what came of a chunk before the FIN must be stored: ${offsets}`)
})

test('An upload by Uppy in three parallel parts, one of which is cut, arrives as one', LIMITS, async (t) => {
  const cuts = [{ atBytes: 10 * MB, by: 'RST' }]
  const { dir, page, proxy, endpoint, exchanges } = await openPage(t, { cuts })

  const url = await page.evaluate((options) => uploadChosenFile(options), { endpoint, parallelUploads: 3 })

  assertArrived(dir, { url }, SOURCE)
  assert.deepEqual(proxy.made, cuts)
  assert.equal(exchanges.filter(({ method }) => method === 'POST').length, 3 + 1)
})

test('A page that is loaded again amid an upload goes on where it was, once the file is chosen again', LIMITS, async (t) => {
  const { dir, page, proxy, endpoint, exchanges, openWithFile } = await openPage(t, { cuts: [{ atBytes: 8 * MB, by: 'silence' }] })

  const lost = page.evaluate((options) => uploadChosenFile(options), { endpoint }).catch(() => 'the page is gone')
  await Promise.race([once(proxy, 'cut'), lost])
  await openWithFile()
  const url = await page.evaluate((options) => uploadChosenFile(options), { endpoint })

  assertArrived(dir, { url }, SOURCE)
  const [first, resumed, ...further] = offsetsOf(exchanges)
  assert.deepEqual([first, further], [0, []])
  assert.ok(resumed > 8 * MB - HEADS_BYTES, `all that had arrived must be stored: resumed at ${resumed}`)
})

test('A page of an origin that was not named cannot upload', LIMITS, async (t) => {
  const { dir, page, endpoint } = await openPage(t, { hostOfPage: 'localhost' })

  await assert.rejects(page.evaluate((options) => uploadChosenFile(options), { endpoint, retryDelays: null }))

  assert.deepEqual(filesOf(dir), [])
})

/**
 * Starts the program, allows one origin, and opens the page with the source chosen in it. `exchanges` fills
 * with what the page sends; the browser keeps its preflights to itself.
 */
async function openPage(t, { cuts = [], hostOfPage = '127.0.0.1' }) {
  const dir = temporaryFolder(t)
  const file = join(temporaryFolder(t), 'source.bin')
  writeFileSync(file, SOURCE)
  const pagePort = await servePage(t)
  const server = await npmStart(t, { dir, flags: ['--cors', `http://127.0.0.1:${pagePort}`] })
  const { proxy, endpoint } = await startProxy(t, server, { cuts })

  const context = await browser.newContext() // with a storage of its own
  t.after(() => context.close())
  const page = await context.newPage()
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && t.diagnostic(message.text()))
  const exchanges = []
  page.on('request', (request) => {
    if (!request.url().startsWith(endpoint)) return
    const offset = request.headers()['upload-offset']
    exchanges.push({ method: request.method(), offset: offset === undefined ? undefined : Number(offset) })
  })

  const openWithFile = async () => {
    await page.goto(`http://${hostOfPage}:${pagePort}/`)
    await page.setInputFiles('input', file)
  }
  await openWithFile()
  return { dir, page, proxy, endpoint, exchanges, openWithFile }
}
