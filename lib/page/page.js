// SPDX-License-Identifier: MIT
// @ts-check

/**
 * The page: each file that is chosen or dropped becomes a row that shows the state of its upload.
 *
 * `upload.js` does the uploading. This file shows it, runs a few uploads at a time, and remembers
 * those that are not finished. Text is never turned into HTML.
 *
 * @module
 */

import { fingerprint, forget, recall, remember } from './memory.js'
import { Upload } from './upload.js'
import { describe, formatBytes } from './words.js'

/** @import { State } from './upload.js' */
/** @typedef {'choose' | 'retry' | 'resume' | 'pause' | 'unplug' | Leaving} Action */
/** @typedef {'cancel' | 'forget' | 'dismiss'} Leaving */

const ENDPOINT = new URL(setting('endpoint'), location.href).href
const MAX_SIZE_BYTES = Number(setting('max-size'))
const OFFERS_DOWNLOADS = setting('download') === 'true'
/** More uploads at a time would not be faster in all, and each would be slower. */
const MAX_RUNNING = 3

/** The buttons in each state. @type {Readonly<Record<State, readonly Action[]>>} */
const ACTIONS = {
  missing: ['choose', 'forget'],
  queued: ['pause', 'cancel'],
  sending: ['pause', 'unplug', 'cancel'],
  pausing: ['resume', 'unplug', 'cancel'],
  asking: ['resume', 'cancel'],
  waiting: ['resume', 'pause', 'cancel'],
  paused: ['resume', 'cancel'],
  failed: ['retry', 'cancel'],
  removing: ['forget'],
  finished: ['dismiss'],
  removed: [],
}

/** The states that are announced to screen readers. @type {readonly State[]} */
const MILESTONES = ['sending', 'waiting', 'paused', 'failed', 'finished', 'removed']
/** Waiting is announced from this attempt on, as short interruptions are not worth a message. */
const ATTEMPTS_WORTH_A_WORD = 3
/** How many messages stay on the page for screen readers. */
const MAX_MESSAGES = 10

/** The states after which the same file is a new upload. @type {readonly State[]} */
const DONE = ['finished', 'removing', 'removed']

const input = find(document, '#files', HTMLInputElement)
const list = find(document, '#uploads', HTMLElement)
const template = find(document, '#upload', HTMLTemplateElement)
/** Each upload with its row. @type {Map<Upload, HTMLElement>} */
const uploads = new Map()

for (const memory of recall(ENDPOINT)) add(new Upload(memory.description, ENDPOINT, memory))
acceptFiles()
addEventListener('beforeunload', (event) => {
  if ([...uploads.keys()].some((upload) => upload.active)) event.preventDefault()
})

function acceptFiles() {
  const drop = find(document, '#drop', HTMLElement)
  input.addEventListener('change', () => {
    take([...(input.files ?? [])])
    input.value = '' // so that the same file can be chosen again
  })
  // On the whole page: a browser opens a file that is dropped elsewhere, in place of the page.
  addEventListener('dragover', (event) => {
    event.preventDefault()
    drop.classList.add('over')
  })
  addEventListener('dragleave', (event) => {
    if (event.relatedTarget === null) drop.classList.remove('over')
  })
  addEventListener('drop', (event) => {
    event.preventDefault()
    drop.classList.remove('over')
    const items = [...(event.dataTransfer?.items ?? [])]
    const folders = items.filter((item) => item.webkitGetAsEntry()?.isDirectory)
    take(items.filter((item) => !folders.includes(item)).flatMap((item) => item.getAsFile() ?? []))
    if (folders.length > 0) notify('Folders cannot be uploaded. Drop the files inside them instead.')
  })
  if (MAX_SIZE_BYTES > 0) {
    find(document, '#limit', HTMLElement).textContent = `, up to ${formatBytes(MAX_SIZE_BYTES)} each`
  }
}

/**
 * Shows a message about the files that were chosen, or none.
 *
 * @param {string} text
 */
function notify(text) {
  find(document, '#notice', HTMLElement).textContent = text
}

/**
 * Uploads files. A file that is already listed resumes.
 *
 * @param {readonly File[]} files
 */
function take(files) {
  notify('')
  const known = unfinished()
  for (const file of files) {
    const key = fingerprint(file, ENDPOINT)
    const upload = known.get(key)
    if (upload) upload.supply(file)
    else known.set(key, add(new Upload(file, ENDPOINT)))
  }
  schedule()
}

/** The uploads that are not finished, by fingerprint. */
function unfinished() {
  const left = [...uploads.keys()].filter(({ state }) => !DONE.includes(state))
  return new Map(left.map((upload) => [fingerprint(upload.description, ENDPOINT), upload]))
}

/** Starts as many uploads as may run, the oldest first. */
function schedule() {
  for (const upload of uploads.keys()) {
    if ([...uploads.keys()].filter((each) => each.running).length >= MAX_RUNNING) return
    if (upload.state === 'queued') void upload.run()
  }
}

/**
 * Gives an upload its row.
 *
 * @param {Upload} upload
 * @returns {Upload}
 */
function add(upload) {
  const { name } = upload.description
  const row = find(/** @type {DocumentFragment} */ (template.content.cloneNode(true)), 'li', HTMLElement)
  find(row, 'h3', HTMLElement).textContent = name
  find(row, '.bar', HTMLElement).setAttribute('aria-label', `Progress of ${name}`)
  for (const button of row.querySelectorAll('button')) {
    button.setAttribute('aria-label', `${button.textContent}: ${name}`)
    button.addEventListener('click', () => act(/** @type {Action} */ (button.name), upload))
  }
  row.addEventListener('keydown', (event) => {
    if (event.repeat && event.key === 'Enter') event.preventDefault() // the focus may have moved to another button
  })
  uploads.set(upload, row)
  list.append(row)
  find(document, 'section', HTMLElement).hidden = false

  let announced = upload.state
  upload.addEventListener('change', () => {
    const { state, attempts } = upload
    keep(upload)
    if (state === 'removed') discard(upload)
    else show(upload, row)
    const isMilestone = MILESTONES.includes(state) && (state !== 'waiting' || attempts >= ATTEMPTS_WORTH_A_WORD)
    if (state !== announced && isMilestone) {
      announced = state
      announce(`${name}: ${state === 'sending' ? 'Sending.' : describe(upload)}`)
    }
    schedule()
  })
  upload.addEventListener('restart', () => announce(`${name}: The server no longer has it; starting over.`))
  show(upload, row)
  return upload
}

/**
 * @param {Action} action
 * @param {Upload} upload
 */
function act(action, upload) {
  switch (action) {
    case 'choose':
      return input.click()
    case 'resume':
    case 'retry':
      return upload.resume()
    case 'pause':
      return upload.pause()
    case 'unplug':
      return upload.unplug()
    case 'cancel':
    case 'forget':
      return upload.remove()
    case 'dismiss':
      return discard(upload)
  }
}

/**
 * Remembers an upload, or forgets it.
 *
 * @param {Upload} upload
 */
function keep({ state, description, url, acknowledged }) {
  const isReplaced = DONE.includes(state) && unfinished().has(fingerprint(description, ENDPOINT))
  if (isReplaced) return // the entry belongs to the newer upload
  if (url === undefined || state === 'finished' || state === 'removed') forget(description, ENDPOINT)
  else remember({ description, url, acknowledged }, ENDPOINT)
}

/**
 * @param {Upload} upload
 * @param {HTMLElement} row
 */
function show(upload, row) {
  const { state, acknowledged, sent, url, description: { name, size } } = upload
  const percentOf = (/** @type {number} */ bytes) => {
    if (size === 0) return state === 'finished' ? 100 : 0
    return (bytes / size) * 100
  }
  const percent = Math.floor(percentOf(acknowledged))
  row.dataset['state'] = state
  find(row, '.percent', HTMLElement).textContent = `${percent}%`
  find(row, '.message', HTMLElement).textContent = describe(upload)
  const bar = find(row, '.bar', HTMLElement)
  bar.setAttribute('aria-valuenow', String(percent))
  bar.setAttribute('aria-valuetext', `${percent}% safe, ${Math.floor(percentOf(sent))}% sent`)
  bar.style.setProperty('--share-safe', String(percentOf(acknowledged) / 100))
  bar.style.setProperty('--share-sent', String(percentOf(sent) / 100))
  if (state === 'finished' && OFFERS_DOWNLOADS && url !== undefined) link(find(row, 'h3', HTMLElement), name, url)

  const focused = document.activeElement
  for (const button of row.querySelectorAll('button')) {
    button.hidden = !ACTIONS[state].includes(/** @type {Action} */ (button.name))
  }
  if (focused instanceof HTMLButtonElement && row.contains(focused) && focused.hidden) focusOn(row)
}

/**
 * Removes an upload from the page.
 *
 * @param {Upload} upload
 */
function discard(upload) {
  const row = uploads.get(upload)
  if (!row) return
  uploads.delete(upload)
  if (row.contains(document.activeElement)) focusOn(row.nextElementSibling ?? row.previousElementSibling)
  row.remove()
  find(document, 'section', HTMLElement).hidden = uploads.size === 0
}

/**
 * Moves the focus to the first button of a row, when the element that had it has gone.
 *
 * @param {Element | null} row
 */
function focusOn(row) {
  const button = row?.querySelector('button:not([hidden])')
  if (button instanceof HTMLElement) button.focus()
  else input.focus()
}

/**
 * @param {HTMLElement} heading
 * @param {string} name
 * @param {string} url
 */
function link(heading, name, url) {
  if (heading.querySelector('a')) return
  const anchor = document.createElement('a')
  anchor.href = url
  anchor.target = '_blank' // in the same tab it would end the other uploads
  anchor.textContent = name
  heading.replaceChildren(anchor)
}

/**
 * Gives screen readers a message. Progress is not announced.
 *
 * @param {string} text
 */
function announce(text) {
  const line = document.createElement('p')
  line.textContent = text
  const messages = find(document, '#messages', HTMLElement)
  messages.append(line)
  if (messages.childElementCount > MAX_MESSAGES) messages.firstElementChild?.remove()
}

/**
 * A setting that the server wrote into the page.
 *
 * @param {string} name
 */
function setting(name) {
  return find(document, `meta[name=longhaul-${name}]`, HTMLMetaElement).content
}

/**
 * @template {Element} T
 * @param {ParentNode} root
 * @param {string} selector
 * @param {new () => T} kind
 * @returns {T}
 */
function find(root, selector, kind) {
  const found = root.querySelector(selector)
  if (found instanceof kind) return found
  throw new TypeError(`Cannot show uploads as the page must have a ${kind.name} at ${selector}`)
}
