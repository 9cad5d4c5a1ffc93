// SPDX-License-Identifier: MIT

/** The program's page in headless Chromium, against the program as `npm start` runs it. */

import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Trouble } from '../../lib/page/trouble.js'
import { launchChromium } from './browser/chromium.js'
import { openUploadPage } from './browser/upload-page.js'
import { npmStart } from './npm-start.js'
import { filesOf, MB, startProxy, temporaryFolder } from './uploading.js'

const LIMITS = { timeout: 60_000 }
/** At this speed the source takes ten seconds, so that there is a middle; nothing waits until it is over. */
const SLOW = 2 * MB
const SOURCE = randomBytes(20 * MB)
const MAX_SIZE = 25 * MB
const NAME = 'holiday by the sea.mp4'
let browser
/** All tests use one program, as starting it takes longer than most of them. */
let server
const ends = []
const allTests = { after: (end) => ends.push(end) }
const dir = temporaryFolder(allTests)

before(async () => {
  browser = await launchChromium()
  server = await startProgram(0)
})
after(async () => {
  await browser?.close()
  for (const end of ends.reverse()) end()
})

test('Files that are chosen arrive whole, with their names and types, and can be downloaded where that is offered', LIMITS, async (t) => {
  const { uploads, makeFile, stored, assertArrived } = await openPage(t)
  const sources = new Map([[NAME, SOURCE], ['Grüße ☃ "1".txt', Buffer.from('snow')], ['empty', Buffer.alloc(0)]])

  await uploads.choose(Array.from(sources, ([name, source]) => makeFile(name, source)))
  for (const name of sources.keys()) await uploads.untilFinished(name)

  assertArrived(sources)
  assert.equal(stored().get(NAME).type, 'video/mp4')
  for (const [name, source] of sources) {
    const link = uploads.page.getByRole('link', { name, exact: true })
    const answer = await uploads.page.request.get(new URL(await link.getAttribute('href'), uploads.page.url()).href)
    assert.equal(sha256(await answer.body()), sha256(source), name)
  }
  uploads.assertNoErrorEver()
})

test('Files that are dropped anywhere on the page are uploaded', LIMITS, async (t) => {
  const { uploads, assertArrived } = await openPage(t)
  const transfer = await uploads.page.evaluateHandle(() => {
    const transfer = new DataTransfer()
    for (const name of ['one', 'two']) transfer.items.add(new File([name], name))
    transfer.items.add('some text', 'text/plain')
    return transfer
  })

  await uploads.page.dispatchEvent('h1', 'drop', { dataTransfer: transfer })
  for (const name of ['one', 'two']) await uploads.untilFinished(name)

  assertArrived(new Map([['one', 'one'], ['two', 'two']]))
  uploads.assertNoErrorEver()
})

test('With the plug pulled in mid-flight, the page says what is safe, and goes on from exactly there', LIMITS, async (t) => {
  const { uploads, chooseSlowly, exchanges, assertArrived } = await openPage(t)
  await chooseSlowly()
  await uploads.untilMidway(NAME, 2)

  await uploads.press(NAME, 'Pull the plug')
  const { sentBytes, safeBytes } = await uploads.readUnplugged(NAME)
  t.diagnostic(`${sentBytes} bytes were sent, ${safeBytes} are safe`)
  assert.ok(safeBytes > 0 && safeBytes <= sentBytes && sentBytes < SOURCE.length)
  const before = exchanges.length
  await uploads.limitSpeed(-1)
  await uploads.press(NAME, 'Resume')
  await uploads.untilFinished(NAME)

  // as the page cuts off behind a tenth of a MB
  assert.ok(Math.abs(exchanges[before].offset - safeBytes) < MB / 10, `resumed at ${exchanges[before].offset}`)
  assertArrived()
  uploads.assertNoErrorEver()
})

test('A server that is stopped in the middle and started again is waited for; the upload goes on by itself, and no error is shown', LIMITS, async (t) => {
  const { uploads, chooseSlowly, assertArrived } = await openPage(t)
  await chooseSlowly()
  await uploads.untilMidway(NAME, 2)

  assert.deepEqual(await server.stop(), { code: 0, signal: null })
  const { message, safePercent, buttons } = await uploads.until(NAME, 'waiting')
  assert.match(message, /^(Waiting for the server|The server is busy or restarting)\. \d+\.\d MB of 20\.0 MB is safe\.$/)
  assert.ok(safePercent >= 2)
  assert.deepEqual(buttons, ['Resume', 'Pause', 'Cancel'])
  await uploads.limitSpeed(-1)
  server = await startProgram(server.port)
  await uploads.untilFinished(NAME)

  assertArrived()
  uploads.assertNoErrorEver()
})

test('A page that is loaded again in the middle lists what is not finished; the file is chosen again and goes on where it was', LIMITS, async (t) => {
  const { uploads, chooseSlowly, exchanges, file, assertArrived } = await openPage(t)
  await chooseSlowly()
  const { safePercent } = await uploads.untilMidway(NAME, 2)
  uploads.page.on('dialog', (dialog) => dialog.accept()) // "Leave the page?"

  await uploads.page.reload()
  const kept = await uploads.read(NAME)
  assert.equal(kept.state, 'missing')
  assert.match(kept.message, /^Choose the file again to continue\. \d+\.\d MB of 20\.0 MB is safe\.$/)
  assert.ok(kept.safePercent >= safePercent)
  const before = exchanges.length
  await uploads.limitSpeed(-1)
  const [chooser] = await Promise.all([uploads.page.waitForEvent('filechooser'), uploads.press(NAME, 'Choose the file again')])
  await chooser.setFiles(file)
  await uploads.untilFinished(NAME)

  const [head, patch] = exchanges.slice(before)
  assert.equal(head.method, 'HEAD')
  assert.ok(patch.offset >= (safePercent / 100) * SOURCE.length, `resumed at ${patch.offset}`)
  assert.equal(exchanges.filter(({ method }) => method === 'POST').length, 1)
  assertArrived()
  await uploads.page.reload()
  assert.equal(await uploads.page.locator('#uploads > li').count(), 0, 'what has arrived is not listed again')
  uploads.assertNoErrorEver()
})

test('A page is not left without a question while something is sent, and without one otherwise', LIMITS, async (t) => {
  const { uploads, chooseSlowly } = await openPage(t)
  const dialogs = []
  uploads.page.on('dialog', (dialog) => {
    dialogs.push(dialog.type())
    return dialog.accept()
  })
  await chooseSlowly() // which is also what browsers ask for, that somebody has done something here
  await uploads.untilMidway(NAME, 2)
  await uploads.press(NAME, 'Pull the plug')
  await uploads.until(NAME, 'paused')
  await uploads.page.reload()
  assert.deepEqual(dialogs, [])
  await chooseSlowly()
  await uploads.untilMidway(NAME, 4)
  await uploads.page.locator('h1').click()
  await uploads.page.reload()
  assert.deepEqual(dialogs, ['beforeunload'])
})

test('A file that the server refuses gets a clear word, and the next one arrives all the same', LIMITS, async (t) => {
  const { uploads, makeFile, stored } = await openPage(t)

  await uploads.choose([makeFile('too large', Buffer.alloc(MAX_SIZE + 1)), makeFile('just right', Buffer.alloc(MAX_SIZE))])

  assert.equal((await uploads.until('too large', 'failed')).message, 'This file is larger than the server allows.')
  await uploads.untilFinished('just right')
  assert.match(await uploads.page.locator('#drop').textContent(), /up to 25\.0 MB each/)
  assert.deepEqual([...stored().keys()], ['just right'])
  await uploads.press('too large', 'Cancel')
  await uploads.row('too large').waitFor({ state: 'detached' })
  uploads.assertNoComplaint()
})

test('Paused, the slice under way ends and no other begins; resumed, the next one follows without a question to the server', LIMITS, async (t) => {
  const { uploads, chooseSlowly, exchanges, assertArrived } = await openPage(t)
  await chooseSlowly()
  await uploads.untilMidway(NAME, 2)

  await uploads.press(NAME, 'Pause')
  const { message, safePercent, sentPercent } = await uploads.until(NAME, 'paused')
  assert.match(message, /^Paused\. \d+\.\d MB of 20\.0 MB is safe\.$/)
  assert.equal(sentPercent, safePercent)
  const before = exchanges.length
  await uploads.limitSpeed(-1)
  await uploads.press(NAME, 'Resume')
  await uploads.untilFinished(NAME)

  assert.ok(!exchanges.some(({ method }) => method === 'HEAD'))
  assert.equal(exchanges[before].offset, exchanges[before - 1].answer.offset)
  assertArrived()
  uploads.assertNoErrorEver()
})

test('A slice that would take long is cut off when somebody pauses, and nothing of it is lost', LIMITS, async (t) => {
  const { uploads, file, exchanges, assertArrived } = await openPage(t)
  await uploads.limitSpeed(MB / 50) // the first slice takes 13 seconds
  await uploads.choose(file)
  await uploads.row(NAME).getByText(/[1-9]\.\d kB sent/).waitFor()

  await uploads.press(NAME, 'Pause')
  const { sentBytes, safeBytes } = await uploads.readUnplugged(NAME)
  assert.ok(safeBytes > 0 && safeBytes <= sentBytes)
  const before = exchanges.length
  await uploads.limitSpeed(-1)
  await uploads.press(NAME, 'Resume')
  await uploads.untilFinished(NAME)

  assert.equal(exchanges[before - 1].method, 'HEAD')
  assert.ok(Math.abs(exchanges[before].offset - safeBytes) < 100) // as the page cuts off behind a tenth of a kB
  assertArrived()
  uploads.assertNoErrorEver()
})

test('Cancelled, an upload is gone from the page, from its memory and from the server', LIMITS, async (t) => {
  const { uploads, chooseSlowly, stored } = await openPage(t)
  await chooseSlowly()
  await uploads.untilMidway(NAME, 2)

  await uploads.press(NAME, 'Cancel')
  await uploads.row(NAME).waitFor({ state: 'detached' })

  assert.deepEqual([...stored().keys()], [])
  await uploads.page.reload()
  assert.equal(await uploads.page.locator('#uploads > li').count(), 0)
  uploads.assertNoErrorEver()
})

test('Cancelled right after a pause that would have to cut, an upload is gone and does not come back as paused', LIMITS, async (t) => {
  const { uploads, chooseSlowly, stored } = await openPage(t)
  await uploads.page.clock.install()
  await uploads.page.reload()
  await chooseSlowly()
  await uploads.untilMidway(NAME, 2)
  const held = []
  await uploads.page.route('**/files/*', (route) => (route.request().method() === 'DELETE' ? void held.push(route) : route.continue()))

  await uploads.press(NAME, 'Pause')
  await uploads.press(NAME, 'Cancel')
  await uploads.until(NAME, 'removing')
  await uploads.page.clock.runFor(3000) // longer than a pause waits for its slice
  for (const route of held) await route.continue()
  await uploads.row(NAME).waitFor({ state: 'detached' })

  assert.deepEqual([...stored().keys()], [])
  uploads.assertNoErrorEver()
})

test('A file that is uploaded a second time is remembered, whatever becomes of the row of the first time', LIMITS, async (t) => {
  const { uploads, chooseSlowly, file } = await openPage(t)
  await uploads.choose(file)
  await uploads.untilFinished(NAME)
  await chooseSlowly()
  await uploads.page.locator('[data-state=sending]').waitFor()
  await uploads.page.getByRole('button', { name: `Pull the plug: ${NAME}`, exact: true }).click()
  await uploads.page.locator('[data-state=paused]').waitFor()

  await uploads.page.getByRole('button', { name: `Dismiss: ${NAME}`, exact: true }).click()
  await uploads.page.reload()

  await uploads.until(NAME, 'missing')
  await uploads.press(NAME, 'Forget')
  await uploads.row(NAME).waitFor({ state: 'detached' })
  uploads.assertNoErrorEver()
})

test('An upload is remembered as soon as it exists, before any of it is acknowledged', LIMITS, async (t) => {
  const { uploads, file, assertArrived } = await openPage(t)
  // no PATCH arrives
  await uploads.page.route('**/files/*', (route) => (route.request().method() === 'POST' ? route.continue() : undefined))
  await uploads.choose(file)
  await uploads.page.waitForFunction(() => localStorage.length === 1)
  await uploads.page.unroute('**/files/*')
  await uploads.page.reload()

  await uploads.until(NAME, 'missing')
  await uploads.choose(file)
  await uploads.untilFinished(NAME)

  assertArrived()
  uploads.assertNoErrorEver()
})

test('Where a new address never worked, who tries again gets another one; and there are words for it all', LIMITS, async (t) => {
  const { uploads, file, exchanges } = await openPage(t)
  const headers = { 'Tus-Resumable': '1.0.0' }
  // to PATCH, HEAD, HEAD
  const answers = [undefined, { status: 503, headers: { ...headers, 'Retry-After': '3600' } }, { status: 410, headers }]
  await uploads.page.route('**/files/*', (route) => {
    if (route.request().method() === 'POST') return route.continue()
    const answer = answers.shift()
    return answer ? route.fulfill(answer) : answers.length === 2 ? route.abort() : route.continue()
  })
  await uploads.choose(file)
  await uploads.page.getByText('The server is busy').waitFor()
  await uploads.press(NAME, 'Resume')
  assert.match((await uploads.until(NAME, 'failed')).message, /Try again to start over\.$/)

  await uploads.press(NAME, 'Try again')
  await uploads.untilFinished(NAME)

  assert.equal(exchanges.filter(({ method }) => method === 'POST').length, 2)
  uploads.assertNoComplaint()
})

test('Of five files three are sent at a time, the others wait, and all arrive', LIMITS, async (t) => {
  const { uploads, makeFile, assertArrived } = await openPage(t)
  const sources = new Map(['one', 'two', 'three', 'four', 'five'].map((name) => [name, randomBytes(MB / 2)]))
  await uploads.limitSpeed(SLOW)

  await uploads.choose(Array.from(sources, ([name, source]) => makeFile(name, source)))
  for (const name of sources.keys()) await uploads.untilFinished(name)

  const states = new Map()
  let most = 0
  for (const { name, state } of uploads.shown) {
    states.set(name, state)
    most = Math.max(most, [...states.values()].filter((each) => each === 'sending').length)
  }
  assert.equal(most, 3)
  assert.ok(uploads.shown.some(({ name, state, message }) => name === 'five' && state === 'queued' && message === 'Waiting for its turn.'))
  assertArrived(sources)
  uploads.assertNoErrorEver()
})

test('What the server no longer has starts over by itself, whether a HEAD or a PATCH finds out, and that is no error', LIMITS, async (t) => {
  const { uploads, file, chooseSlowly, exchanges, stored, assertArrived } = await openPage(t)
  const removeBehindItsBack = async () => {
    await uploads.untilMidway(NAME, 1)
    await uploads.press(NAME, 'Pull the plug')
    await uploads.until(NAME, 'paused')
    const { answer } = exchanges.findLast(({ method }) => method === 'POST')
    await uploads.page.request.delete(new URL(answer.location, uploads.page.url()).href, { headers: { 'Tus-Resumable': '1.0.0' } })
    assert.deepEqual([...stored().keys()], [])
  }

  await chooseSlowly()
  await removeBehindItsBack()
  await Promise.all([uploads.page.waitForRequest((request) => request.method() === 'POST'), uploads.press(NAME, 'Resume')])
  await removeBehindItsBack()
  await uploads.page.reload()
  await uploads.limitSpeed(-1)
  await uploads.choose(file)
  await uploads.untilFinished(NAME)

  assertArrived()
  const began = exchanges.flatMap(({ method }, at) => (method === 'POST' ? (exchanges[at - 1]?.method ?? []) : []))
  assert.deepEqual(began, ['PATCH', 'HEAD'])
  assert.equal(uploads.announced.filter((line) => line === `${NAME}: The server no longer has it; starting over.`).length, 2)
  uploads.assertNoErrorEver()
})

test('A file that is changed while it is sent is not mixed with what it was', LIMITS, async (t) => {
  const { uploads, chooseSlowly, file } = await openPage(t)
  await chooseSlowly()
  await uploads.untilMidway(NAME, 2)

  appendFileSync(file, 'more')

  const { message } = await uploads.until(NAME, 'failed')
  assert.match(message, /^The file has been changed, moved or deleted\. Choose it again\./)
  uploads.assertNoComplaint()
})

test('Without a network the page waits, and goes on as soon as the browser says that it is back', LIMITS, async (t) => {
  const { uploads, chooseSlowly, assertArrived } = await openPage(t)
  await chooseSlowly()
  await uploads.untilMidway(NAME, 2)

  // to the first question, so that nothing but the network's return can be the reason
  const answers = [{ status: 503, headers: { 'Retry-After': '3600' } }]
  await uploads.page.route('**/files/*', (route) =>
    answers.length > 0 && route.request().method() === 'HEAD' ? route.fulfill(answers.shift()) : route.continue(),
  )
  await uploads.goOffline()
  await uploads.row(NAME).getByText('The server is busy or restarting').waitFor()
  await uploads.limitSpeed(-1)
  await uploads.untilFinished(NAME)

  assertArrived()
  uploads.assertNoErrorEver()
})

test('A connection that falls silent is given up after a minute, and the upload goes on over another one', LIMITS, async (t) => {
  const { proxy, endpoint } = await startProxy(t, server, { cuts: [{ atBytes: 6 * MB, by: 'silence' }], path: '/' })
  const { uploads, file, assertArrived } = await openPage(t, { address: endpoint })
  const { clock } = uploads.page
  await clock.install()
  await uploads.page.reload()

  await Promise.all([once(proxy, 'cut'), uploads.choose(file)])
  for (let minutes = 0; !uploads.shown.some(({ state }) => state === 'waiting'); minutes++) {
    assert.ok(minutes < 100) // of which the first may pass while what the system still takes is no silence
    await clock.fastForward(60_000)
  }
  await uploads.untilFinished(NAME)

  assertArrived()
  uploads.assertNoErrorEver()
})

test('A server that asks for patience is not asked again before that, unless somebody presses Resume', LIMITS, async (t) => {
  const { uploads, makeFile, exchanges, assertArrived } = await openPage(t)
  const answers = [{ status: 503, headers: { 'Retry-After': '1' } }, { status: 429, headers: { 'Retry-After': '3600' } }]
  await uploads.page.route('**/files/', (route) => (answers.length > 0 ? route.fulfill(answers.shift()) : route.continue()))

  await uploads.choose(makeFile(NAME, SOURCE))
  await uploads.row(NAME).getByText('The server asked this page to slow down.').waitFor()
  await uploads.press(NAME, 'Resume')
  await uploads.untilFinished(NAME)

  const [first, second] = exchanges.filter(({ method }) => method === 'POST')
  assert.ok(second.atMs - first.atMs >= 1000, `asked again after ${second.atMs - first.atMs} ms`)
  assertArrived()
  uploads.assertNoErrorEver()
})

test('An answer that is no sense is an error, and nothing is sent because of it', LIMITS, async (t) => {
  const { uploads, makeFile, exchanges } = await openPage(t)
  for (const offset of ['-1', '1e3', '9007199254740993', String(SOURCE.length + 1), '0x10', '']) {
    const name = `offset ${offset}`
    await uploads.page.route('**/files/*', (route) =>
      route.request().method() === 'PATCH'
        ? route.fulfill({ status: 204, headers: { 'Tus-Resumable': '1.0.0', 'Upload-Offset': offset } })
        : route.continue(),
    )
    await uploads.choose(makeFile(name, SOURCE))
    assert.equal((await uploads.until(name, 'failed')).message, 'The server sent an invalid response. Tell whoever runs the server.')
  }
  assert.equal(exchanges.filter(({ method }) => method === 'PATCH').length, 6)
  uploads.assertNoComplaint()
})

test('What answers in place of the server, as a proxy does meanwhile or the portal of a hotel, is waited out and not believed', LIMITS, async (t) => {
  const { uploads, chooseSlowly, exchanges, assertArrived } = await openPage(t)
  await chooseSlowly()
  await uploads.untilMidway(NAME, 2)
  await uploads.press(NAME, 'Pull the plug')
  await uploads.until(NAME, 'paused')
  const answers = [{ status: 404 }, { status: 410 }, { status: 200, headers: { 'Upload-Offset': '0' }, body: 'Welcome to our hotel' }]
  await uploads.page.route('**/files/*', (route) => (answers.length > 0 ? route.fulfill(answers.shift()) : route.continue()))

  await uploads.limitSpeed(-1)
  await uploads.press(NAME, 'Resume')
  await uploads.untilFinished(NAME)

  assert.ok(
    uploads.shown.some(({ state, message }) => state === 'waiting' && message.startsWith('Something other than the server answered. ')),
  )
  assert.equal(exchanges.filter(({ method }) => method === 'POST').length, 1)
  assertArrived()
  uploads.assertNoErrorEver()
})

test('For whatever the server may answer there is a clear word: what passes is waited for calmly, what stays says what to do', LIMITS, async (t) => {
  const { uploads, makeFile } = await openPage(t)
  const table = readFileSync(new URL('../../lib/upload/errors.ts', import.meta.url), 'utf8')
  const statuses = new Set(Array.from(table.matchAll(/^ {2}[A-Z_]+: \[(\d{3}), '/gm), ([, status]) => Number(status)))
  let status
  await uploads.page.route('**/files/', (route) => route.fulfill({ status, headers: { 'Tus-Resumable': '1.0.0', 'Retry-After': '3600' } }))
  for (status of statuses) {
    const { message, passes } = new Trouble(status)
    const name = `answered ${status}`
    await uploads.choose(makeFile(name, SOURCE))
    const shown = await uploads.until(name, ['waiting', 'failed'])
    assert.deepEqual([shown.state, shown.message], passes ? ['waiting', `${message}.`] : ['failed', message])
    assert.equal(shown.buttons[0], passes ? 'Resume' : 'Try again')
    await uploads.press(name, 'Cancel')
    await uploads.row(name).waitFor({ state: 'detached' })
  }
  uploads.assertNoComplaint()
})

test('By keyboard alone a file is chosen, paused, resumed, unplugged, cancelled and dismissed, and the focus is never lost', LIMITS, async (t) => {
  const { uploads, file, makeFile, stored } = await openPage(t)
  const { page } = uploads
  const focused = () => page.evaluate(() => document.activeElement?.getAttribute('aria-label') ?? document.activeElement?.id)
  const tabTo = async (label) => {
    for (let presses = 0; presses < 10; presses++) {
      if ((await focused()) === label) return
      await page.keyboard.press('Tab')
    }
    assert.fail(`Tab must lead to ${label}, and led to ${await focused()}`)
  }
  const chooseByKey = async (path) => {
    const [chooser] = await Promise.all([page.waitForEvent('filechooser'), page.keyboard.press('Enter')])
    await chooser.setFiles(path)
  }
  await uploads.limitSpeed(SLOW)

  await page.keyboard.press('Tab')
  assert.equal(await focused(), 'files')
  await chooseByKey(file)
  await uploads.untilMidway(NAME, 2)
  await tabTo(`Pause: ${NAME}`)
  await page.keyboard.press('Enter')
  await uploads.until(NAME, 'paused')
  assert.equal(await focused(), `Resume: ${NAME}`)
  await page.keyboard.press('Space')
  await uploads.until(NAME, 'sending')
  assert.equal(await focused(), `Pause: ${NAME}`)
  await tabTo(`Pull the plug: ${NAME}`)
  await page.keyboard.press('Enter')
  await uploads.until(NAME, 'paused')
  assert.equal(await focused(), `Resume: ${NAME}`)
  await page.keyboard.press('Enter')
  await uploads.until(NAME, 'sending')
  await tabTo(`Cancel: ${NAME}`)
  await page.keyboard.press('Enter')
  await uploads.row(NAME).waitFor({ state: 'detached' })
  assert.equal(await focused(), 'files')

  await uploads.limitSpeed(-1)
  await chooseByKey([makeFile('first', randomBytes(MB)), makeFile('second', randomBytes(MB))])
  for (const name of ['first', 'second']) await uploads.untilFinished(name)
  await tabTo('Dismiss: first')
  await page.keyboard.press('Enter')
  assert.equal(await focused(), 'Dismiss: second')
  await page.keyboard.press('Enter')
  assert.equal(await focused(), 'files')
  assert.deepEqual([...stored().keys()].sort(), ['first', 'second'])
  uploads.assertNoErrorEver()
})

test('A screen reader is told names, roles and values, and of milestones only', LIMITS, async (t) => {
  const { uploads, chooseSlowly } = await openPage(t)
  await chooseSlowly()
  await uploads.untilMidway(NAME, 4)
  await uploads.press(NAME, 'Pause')
  const { safePercent } = await uploads.until(NAME, 'paused')

  const tree = await uploads.page.locator('main').ariaSnapshot()
  for (const line of [
    '- heading "Upload files" [level=1]',
    '- button "Choose files"',
    '- region "Uploads":',
    '- heading "Uploads" [level=2]',
    `- heading "${NAME}" [level=3]`,
    `- progressbar "Progress of ${NAME}"`,
    `- 'button "Resume: ${NAME}"'`,
    `- 'button "Cancel: ${NAME}"'`,
    '- log "Status messages":',
  ]) assert.ok(tree.includes(line), `${line} must be in\n${tree}`)
  assert.ok(!tree.includes('Pull the plug'), 'what cannot be asked for is not there')
  const bar = uploads.page.getByRole('progressbar')
  assert.equal(await bar.getAttribute('aria-valuenow'), String(safePercent))
  assert.equal(await bar.getAttribute('aria-valuetext'), `${safePercent}% safe, ${safePercent}% sent`)
  assert.deepEqual(uploads.announced.map((line) => line.replace(/\d+\.\d/g, 'N')), [
    `${NAME}: Sending.`, `${NAME}: Paused. N MB of N MB is safe.`,
  ])
  uploads.assertNoErrorEver()
})

test('On a phone of 320 pixels nothing has to be scrolled sideways, in the light and in the dark', LIMITS, async (t) => {
  for (const colorScheme of ['light', 'dark']) {
    const { uploads, makeFile } = await openPage(t, { context: { viewport: { width: 320, height: 640 }, colorScheme } })
    const name = `${'long'.repeat(30)}.mp4`
    await uploads.limitSpeed(SLOW)
    await uploads.choose(makeFile(name, SOURCE))
    await uploads.untilMidway(name)
    assert.equal(await uploads.page.evaluate(() => document.documentElement.scrollWidth), 320)
    uploads.assertNoErrorEver()
  }
})

function startProgram(port) {
  return npmStart(allTests, { dir, port, flags: ['--download', '--max-size', String(MAX_SIZE)] })
}

/**
 * Opens the page of a program. `exchanges` fills with what the page sends for uploads, and what is answered.
 */
async function openPage(t, { address = `http://127.0.0.1:${server.port}/`, context } = {}) {
  const uploads = await openUploadPage(t, browser, address, context)
  const exchanges = []
  const byRequest = new Map()
  uploads.page.on('request', (request) => {
    if (!new URL(request.url()).pathname.startsWith('/files/')) return
    const exchange = { method: request.method(), offset: Number(request.headers()['upload-offset']), atMs: Date.now(), answer: undefined }
    byRequest.set(request, exchange)
    exchanges.push(exchange)
  })
  uploads.page.on('response', (response) => {
    const exchange = byRequest.get(response.request())
    if (exchange) exchange.answer = { offset: Number(response.headers()['upload-offset']), location: response.headers()['location'] }
  })
  const folder = temporaryFolder(t)
  const makeFile = (name, source) => {
    writeFileSync(join(folder, name), source)
    return join(folder, name)
  }
  const file = makeFile(NAME, SOURCE)
  const chooseSlowly = async () => {
    await uploads.limitSpeed(SLOW)
    await uploads.choose(file)
  }
  /** What the program holds of the uploads that this page has begun, by the names that it gave. */
  const stored = () => {
    const ids = exchanges.flatMap(({ answer }) => answer?.location?.slice('/files/'.length) ?? [])
    const kept = ids.filter((id) => filesOf(dir).includes(id))
    return new Map(kept.map((id) => {
      const { MetaData } = JSON.parse(readFileSync(join(dir, `${id}.info`), 'utf8'))
      return [MetaData.filename, { id, data: readFileSync(join(dir, id)), type: MetaData.filetype }]
    }))
  }
  /** Byte for byte, and nothing else is there. */
  const assertArrived = (sources = new Map([[NAME, SOURCE]])) => {
    const sums = (datas) => Object.fromEntries(Array.from(datas, ([name, data]) => [name, sha256(data)]).sort())
    assert.deepEqual(sums(Array.from(stored(), ([name, { data }]) => [name, data])), sums(sources))
  }
  return { uploads, exchanges, makeFile, file, chooseSlowly, stored, assertArrived }
}

function sha256(data) {
  return createHash('sha256').update(data).digest('hex')
}
