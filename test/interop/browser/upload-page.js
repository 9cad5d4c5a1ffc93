// SPDX-License-Identifier: MIT

/**
 * The program's own page, as a person uses it and sees it.
 *
 * What is shown is read from what screen readers are told as well as from what is painted, and all
 * that was ever shown is kept, reloads included: a message may be gone before a test looks.
 *
 * @module
 */

import assert from 'node:assert/strict'

/** Of the browser itself, for each request that fails: nothing that a page could prevent. */
const ABOUT_THE_NETWORK = /^Failed to load resource: /

/**
 * What a row shows.
 *
 * @typedef {object} Shown
 * @property {string} name of the file
 * @property {string} state as in `lib/page/upload.js`
 * @property {string} message
 * @property {number} safePercent that the server has acknowledged
 * @property {number} sentPercent
 * @property {readonly string[]} buttons what can be asked for
 */

/**
 * Opens the page in a context, and so with a storage, of its own.
 *
 * @param {import('node:test').TestContext} t
 * @param {import('playwright-core').Browser} browser
 * @param {string} address
 * @param {import('playwright-core').BrowserContextOptions} [options]
 */
export async function openUploadPage(t, browser, address, options) {
  const context = await browser.newContext(options)
  t.after(() => context.close())
  const uploads = new UploadPage(await context.newPage())
  await uploads.watch()
  await uploads.page.goto(address)
  return uploads
}

/** The page, and what it has shown so far. */
export class UploadPage {
  /** @readonly */
  page
  /** @type {{ name: string, state: string, message: string }[]} whatever a row has said, in the order in which it did */
  shown = []
  /** @type {string[]} what was said to screen readers */
  announced = []
  /** @type {string[]} errors of scripts, warnings, and whatever the policy of the page forbade */
  complaints = []
  #devTools

  /** @param {import('playwright-core').Page} page */
  constructor(page) {
    this.page = page
  }

  async watch() {
    const { page } = this
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type()) && !ABOUT_THE_NETWORK.test(message.text())) this.complaints.push(message.text())
    })
    page.on('pageerror', (error) => this.complaints.push(String(error)))
    page.on('filechooser', () => {}) // from now on, as a first listener that comes with the key that opens it may come too late
    await page.exposeFunction('tellTest', (kind, what) => void this[kind].push(what))
    await page.addInitScript(tellWhatIsShown)
    this.#devTools = await page.context().newCDPSession(page)
  }

  /**
   * Makes the network slow, or as fast as it is again.
   *
   * @param {number} uploadBytesPerSecond -1: no limit
   */
  limitSpeed(uploadBytesPerSecond) {
    return this.#emulateNetwork({ offline: false, uploadThroughput: uploadBytesPerSecond })
  }

  /** Takes the network away, and has the browser know it. */
  goOffline() {
    return this.#emulateNetwork({ offline: true, uploadThroughput: -1 })
  }

  async #emulateNetwork(conditions) {
    await this.#devTools.send('Network.enable')
    await this.#devTools.send('Network.emulateNetworkConditions', { latency: 0, downloadThroughput: -1, ...conditions })
  }

  /**
   * @param {string | readonly string[] | { name: string, mimeType: string, buffer: Buffer } | { name: string, mimeType: string, buffer:
   * Buffer }[]} files
   */
  choose(files) {
    return this.page.setInputFiles('#files', files)
  }

  /** @param {string} name of the file */
  row(name) {
    return this.page.locator('#uploads > li', { has: this.page.getByRole('heading', { name, exact: true }) })
  }

  /**
   * @param {string} name of the file
   * @param {'Pause' | 'Resume' | 'Pull the plug' | 'Cancel' | 'Try again' | 'Forget' | 'Dismiss' | 'Choose the file again'} label
   */
  press(name, label) {
    return this.page.getByRole('button', { name: `${label}: ${name}`, exact: true }).click()
  }

  /**
   * @param {string} name of the file
   * @returns {Promise<Shown>}
   */
  read(name) {
    return this.row(name).evaluate((row) => {
      const bar = row.querySelector('[role=progressbar]')
      const [safe, sent] = bar.getAttribute('aria-valuetext').match(/\d+/g).map(Number)
      return {
        name: row.querySelector('h3').textContent,
        state: row.dataset.state,
        message: row.querySelector('.message').textContent,
        safePercent: safe,
        sentPercent: sent,
        buttons: [...row.querySelectorAll('button:not([hidden])')].map((button) => button.textContent),
      }
    })
  }

  /**
   * Waits until the row is in one of the states.
   *
   * @param {string} name of the file
   * @param {string | readonly string[]} states
   * @returns {Promise<Shown>} what it showed then, or a moment later
   */
  async until(name, states) {
    const selector = [states].flat().map((state) => `[data-state=${state}]`).join()
    await this.row(name).and(this.page.locator(selector)).waitFor()
    return this.read(name)
  }

  /** @param {string} name of the file */
  untilFinished(name) {
    return this.until(name, 'finished')
  }

  /**
   * Waits until it is sent, and the server has acknowledged some of it, but not all.
   *
   * @param {string} name of the file
   * @param {number} [percent] at least
   */
  async untilMidway(name, percent = 1) {
    await this.page.waitForFunction(([row, least]) => {
      const safe = Number(row.querySelector('[role=progressbar]').getAttribute('aria-valuenow'))
      return safe >= least && ['sending', 'finished'].includes(row.dataset.state)
    }, [await this.row(name).elementHandle(), percent])
    const shown = await this.read(name)
    assert.equal(shown.state, 'sending', `${name} must still be under way: ${JSON.stringify(shown)}`)
    return shown
  }

  /** The bytes that have left the page and those that are safe, as the page says after the plug was pulled. */
  async readUnplugged(name) {
    const { message } = await this.until(name, 'paused')
    const [, sent, safe] = /^Unplugged\. (.*) was sent, of which (.*) is safe\.$/.exec(message) ?? assert.fail(message)
    return { sentBytes: parseBytes(sent), safeBytes: parseBytes(safe) }
  }

  /** Neither an error that a person can see, nor one in the console, nor a breach of the page's policy. */
  assertNoErrorEver() {
    assert.ok(this.shown.length > 0)
    assert.deepEqual(this.shown.filter(({ state }) => state === 'failed'), [])
    this.assertNoComplaint()
  }

  assertNoComplaint() {
    assert.deepEqual(this.complaints, [])
    assert.deepEqual(this.shown.filter(({ message }) => /undefined|NaN|null/.test(message)), [])
  }
}

function parseBytes(text) {
  const [number, unit] = text.split(' ')
  return Number(number) * { B: 1, kB: 1e3, MB: 1e6, GB: 1e9 }[unit]
}

/** Runs in the page, before its own scripts. */
function tellWhatIsShown() {
  document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI, sourceFile, lineNumber }) => {
    globalThis.tellTest('complaints', `${violatedDirective} ${blockedURI} ${sourceFile}:${lineNumber}`)
  })
  const last = new WeakMap()
  const tell = () => {
    for (const row of document.querySelectorAll('#uploads > li')) {
      const what = {
        name: row.querySelector('h3').textContent,
        state: row.dataset.state,
        message: row.querySelector('.message').textContent,
      }
      if (last.get(row) === JSON.stringify(what)) continue
      last.set(row, JSON.stringify(what))
      globalThis.tellTest('shown', what)
    }
    for (const line of document.querySelectorAll('#messages > p')) {
      if (last.has(line)) continue
      last.set(line, '')
      globalThis.tellTest('announced', line.textContent)
    }
  }
  new MutationObserver(tell).observe(document, {
    subtree: true,
    childList: true,
    characterData: true,
    attributes: true,
    attributeFilter: ['data-state'],
  })
}
