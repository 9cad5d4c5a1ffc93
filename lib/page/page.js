// SPDX-License-Identifier: MIT
// @ts-check

/**
 * The page: files are chosen or dropped, each becomes a row, and rows show how their uploads fare.
 *
 * What an upload does is in `upload.js`. This file shows it, lets a few of them run at a time, and has
 * those remembered that are not finished. Nothing is ever made of text but text.
 *
 * @module
 */

import { fingerprint, forget, recall, remember } from './memory.js'
import { Upload } from './upload.js'
import { describe, formatBytes } from './words.js'

/** @import { State } from './upload.js' */
/** @typedef {'choose' | 'retry' | 'resume' | 'pause' | 'unplug' | 'cancel' | 'forget' | 'dismiss'} Action */

const ENDPOINT = new URL(setting('endpoint'), location.href).href
const MAX_SIZE_BYTES = Number(setting('max-size'))
const OFFERS_DOWNLOADS = setting('download') === 'true'
/** More at a time would not be faster, and each would be slower. */
const MAX_RUNNING = 3

/** What can be asked for in each state. @type {Readonly<Record<State, readonly Action[]>>} */
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

/** States that are worth a word to who cannot see the page; the others are in between. @type {readonly State[]} */
const MILESTONES = ['sending', 'waiting', 'paused', 'failed', 'finished', 'removed']
/** What is over sooner was no milestone. */
const ATTEMPTS_WORTH_A_WORD = 3
/** How many lines of news stay for who comes late. */
const MAX_NEWS = 10

/** Whose file may be uploaded once more. @type {readonly State[]} */
const DONE = ['finished', 'removing', 'removed']

const input = find(document, '#files', HTMLInputElement)
const list = find(document, '#uploads', HTMLElement)
const template = find(document, '#upload', HTMLTemplateElement)
/** Each with its row. @type {Map<Upload, HTMLElement>} */
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
  // All of the page, because a file that misses the frame would replace it.
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
    find(document, '#notice', HTMLElement).textContent = folders.length > 0 ? 'Folders cannot be uploaded; drop the files that are in them.' : ''
  })
  if (MAX_SIZE_BYTES > 0) find(document, '#limit', HTMLElement).textContent = `, up to ${formatBytes(MAX_SIZE_BYTES)} each`
}

/**
 * Uploads files. One that is listed already goes on where it was.
 *
 * @param {readonly File[]} files
 */
function take(files) {
  find(document, '#notice', HTMLElement).textContent = ''
  const known = unfinished()
  for (const file of files) {
    const key = fingerprint(file, ENDPOINT)
    const upload = known.get(key)
    if (upload) upload.supply(file)
    else known.set(key, add(new Upload(file, ENDPOINT)))
  }
  schedule()
}

/** What has still to arrive, by fingerprint. */
function unfinished() {
  const left = [...uploads.keys()].filter(({ state }) => !DONE.includes(state))
  return new Map(left.map((upload) => [fingerprint(upload.description, ENDPOINT), upload]))
}

/** Runs as many as may run, the oldest first. */
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
    if (event.repeat && event.key === 'Enter') event.preventDefault() // the focus has gone to another button meanwhile
  })
  uploads.set(upload, row)
  list.append(row)
  find(document, 'section', HTMLElement).hidden = false

  let told = upload.state
  upload.addEventListener('change', () => {
    const { state, attempts } = upload
    keep(upload)
    if (state === 'removed') discard(upload)
    else show(upload, row)
    if (state !== told && MILESTONES.includes(state) && (state !== 'waiting' || attempts >= ATTEMPTS_WORTH_A_WORD)) {
      told = state
      announce(`${name}: ${state === 'sending' ? 'Sending.' : describe(upload)}`)
    }
    schedule()
  })
  upload.addEventListener('anew', () => announce(`${name}: The server had given it up, so it begins anew.`))
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
 * Remembers an upload, or no longer.
 *
 * @param {Upload} upload
 */
function keep({ state, description, url, acknowledged }) {
  if (DONE.includes(state) && unfinished().has(fingerprint(description, ENDPOINT))) return // the memory is its successor's
  if (url === undefined || state === 'finished' || state === 'removed') forget(description, ENDPOINT)
  else remember({ description, url, acknowledged }, ENDPOINT)
}

/**
 * @param {Upload} upload
 * @param {HTMLElement} row
 */
function show(upload, row) {
  const { state, acknowledged, sent, url, description: { name, size } } = upload
  const percentOf = (/** @type {number} */ bytes) => (size === 0 ? (state === 'finished' ? 100 : 0) : (bytes / size) * 100)
  const percent = Math.floor(percentOf(acknowledged))
  row.dataset['state'] = state
  find(row, '.percent', HTMLElement).textContent = `${percent} %`
  find(row, '.message', HTMLElement).textContent = describe(upload)
  const bar = find(row, '.bar', HTMLElement)
  bar.setAttribute('aria-valuenow', String(percent))
  bar.setAttribute('aria-valuetext', `${percent} percent are safe, ${Math.floor(percentOf(sent))} percent are sent`)
  bar.style.setProperty('--share-safe', String(percentOf(acknowledged) / 100))
  bar.style.setProperty('--share-sent', String(percentOf(sent) / 100))
  if (state === 'finished' && OFFERS_DOWNLOADS && url !== undefined) link(find(row, 'h3', HTMLElement), name, url)

  const focused = document.activeElement
  for (const button of row.querySelectorAll('button')) button.hidden = !ACTIONS[state].includes(/** @type {Action} */ (button.name))
  if (focused instanceof HTMLButtonElement && row.contains(focused) && focused.hidden) focusOn(row)
}

/**
 * Takes an upload off the page.
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
 * Puts the focus on the first thing that a row offers, as what had it has gone.
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
  anchor.target = '_blank' // in place of the page, it would end the other uploads
  anchor.textContent = name
  heading.replaceChildren(anchor)
}

/**
 * Tells who cannot see the page, and is not to be told of every byte.
 *
 * @param {string} text
 */
function announce(text) {
  const line = document.createElement('p')
  line.textContent = text
  const news = find(document, '#news', HTMLElement)
  news.append(line)
  if (news.childElementCount > MAX_NEWS) news.firstElementChild?.remove()
}

/**
 * What the server wrote into the page.
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
