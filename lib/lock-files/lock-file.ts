// SPDX-License-Identifier: MIT

/**
 * The file of one key, as this process sees it: how it becomes ours, stays ours, and ends.
 *
 * To get the file, it tries to create the link. If the link exists, it visits the process that the
 * link names, waits in its line until it hangs up or dies, and tries again. The link of a dead
 * process is replaced.
 *
 * It sets its token before it creates the link. Another process may read the token there and visit
 * before the call that wrote it has returned. It forgets the token after the link is gone.
 *
 * From the making of the link to the decision to remove it nobody else can have the key. That time
 * is a *tenure*. It ends before the link is removed, so two holds in one tenure have no hold of
 * another process between them.
 *
 * What we saw of our link is believed for a moment: for a second at most, and not as long as others
 * need to count us as dead. Within that time only somebody who removes files by hand can have given
 * the key to another process.
 *
 * Part of the folder `lock-files`, which is self-contained.
 *
 * @module
 */

import { lutimes, unlink } from 'node:fs/promises'
import { hasCode } from './lock-files-error.ts'
import { createLink, makeToken, readLink, replaceLink, type Replacement } from './lock-link.ts'
import type { Presence } from './presence.ts'
import { ask, visit, type SocketState, type Visit } from './visit.ts'

/**
 * The time from the making of a lock's link to its end. No other process has the key in between,
 * over however many holds.
 */
export interface LockFilesTenure {
  /** Whether it has ended. It is true before any other process can get the key. */
  readonly ended: boolean
}

/** The longest pause before a holder that cannot be waited for is looked at again. */
const MAX_PAUSE_MS = 1000

/** How old a look at the link may be that says whether the lock is held. */
const MAX_LOOK_MS = 50

/** The file of one key. */
export class LockFile {
  readonly #path: string
  readonly #presence: Presence
  /** What others read in the file while it is ours, or may read at any moment. */
  #token: string | undefined
  /** There is one as long as the file is ours. */
  #tenure: { ended: boolean } | undefined
  /** When we last made or read the link, by `performance.now()`, which a stop does not stop. */
  #seenMs = 0
  /** The check that is in progress. */
  #confirming: Promise<boolean> | undefined

  constructor(path: string, presence: Presence) {
    this.#path = path
    this.#presence = presence
  }

  get token(): string | undefined {
    return this.#token
  }

  get tenure(): LockFilesTenure | undefined {
    return this.#tenure
  }

  /** Gets the file if it is free, or lingers elsewhere, or its holder is dead. Waits for no holder. */
  takeAtOnce(): Promise<boolean> {
    return this.#obtain((token) => this.#take(token))
  }

  /** Gets the file, however long it takes. False if the signal aborts. */
  takeInTurn(signal: AbortSignal): Promise<boolean> {
    return this.#obtain((token) => this.#fetch(token, signal))
  }

  /** Whether the file is ours, as far as may be believed. One that was removed is made again. */
  async isOurs(): Promise<boolean> {
    return this.#isSeen(this.#presence.trustMs) || this.confirm()
  }

  /** As {@link isOurs}, by a look that is a moment old at most. */
  async isOursNow(): Promise<boolean> {
    return this.#isSeen(Math.min(MAX_LOOK_MS, this.#presence.trustMs)) || this.confirm()
  }

  /** Looks whether the file is ours. Makes one again that was removed. Does not reject. */
  confirm(): Promise<boolean> {
    return (this.#confirming ??= this.#confirm().finally(() => (this.#confirming = undefined)))
  }

  /** Keeps the times of the file recent. Does not reject. */
  async touch(): Promise<void> {
    const now = new Date()
    await lutimes(this.#path, now, now).catch(() => {})
  }

  /** Removes the file, so that another process can have the key. Does not reject. */
  async giveUp(): Promise<void> {
    const isSeen = this.#isSeen(this.#presence.trustMs)
    if (this.#tenure) this.#tenure.ended = true
    const isOurs = await this.#confirming // or it might make the file again when it is gone
    try {
      if (this.#token && isOurs !== false) await this.#remove(isSeen)
    } catch {
      // It could not be removed, or its directory was moved away and may come back with it. Once we
      // do not know its token any more, the next one replaces the link.
      this.#presence.keepFile()
    }
    this.forget()
  }

  /** Removes our link, and no link of another process. Throws if there is no link at all. */
  async #remove(isSeen: boolean): Promise<void> {
    const found = isSeen ? this.#token : await readLink(this.#path)
    if (found === undefined) throw new Error('The link is gone')
    if (found === this.#token) await unlink(this.#path)
  }

  /** Leaves the file to others. Those that ask for our token are turned away from now on. */
  forget(): void {
    if (this.#tenure) this.#tenure.ended = true
    this.#tenure = undefined
    this.#token = undefined
  }

  async #obtain(getFile: (token: string) => Promise<boolean>): Promise<boolean> {
    this.#token = makeToken(this.#presence.name)
    try {
      if (await getFile(this.#token)) this.#tenure = { ended: false }
    } finally {
      if (!this.#tenure) this.#token = undefined
    }
    return this.#tenure !== undefined
  }

  async #take(token: string): Promise<boolean> {
    const isAbandoned = (maker: string, guard: string): Promise<boolean> => this.#presence.isDead(maker, guard)
    await this.#presence.touchNowAndThen()
    let holder = await this.#create(token)
    let asked: string | undefined
    while (holder && holder !== asked) {
      asked = holder
      const { state, leave } = await ask(this.#presence.addressOf(holder), holder)
      try {
        if (state === 'alive') return false
        const dead = state === 'free' ? false : await this.#isDeadWhenAsked(holder, state)
        if (dead) return await this.#replace(holder, { token, isAbandoned })
        holder = await this.#create(token) // it may have let go before it was asked
        if (state === 'free') return !holder
      } finally {
        leave()
      }
    }
    return !holder
  }

  /** One that does not know its token, or the question, is not robbed. */
  #isDeadWhenAsked(holder: string, state: SocketState): Promise<boolean> {
    return state === 'forgetful' ? Promise.resolve(false) : this.#presence.isDead(holder, this.#path, state)
  }

  async #fetch(token: string, signal: AbortSignal): Promise<boolean> {
    const isAbandoned = async (maker: string, guard: string): Promise<boolean> => {
      const { state, leave } = await visit(this.#presence.addressOf(maker), maker, { signal })
      leave()
      return this.#presence.isDead(maker, guard, state)
    }
    let place: Visit | undefined
    let previous: string | undefined
    let inVain = 0
    try {
      await this.#presence.touchNowAndThen() // shows as well that our socket is where others look for it
      while (!signal.aborted) {
        const holder = await this.#create(token)
        if (!holder) return true
        inVain = holder === previous ? inVain + 1 : 0
        previous = holder

        // Those behind us in the last line wait until we have a place in the next.
        const onPlaced = (): void => place?.leave()
        const next = await visit(this.#presence.addressOf(holder), holder, { signal, onPlaced })
        if (next.state === 'alive') {
          place?.leave()
          place = next
        }
        const dead = await this.#presence.isDead(holder, this.#path, next.state)
        if (dead && (await this.#replace(holder, { token, isAbandoned }))) return true
        if (inVain > 0) await pause(Math.min(2 ** inVain, MAX_PAUSE_MS), signal)
      }
      return false
    } finally {
      place?.leave()
    }
  }

  /** As {@link createLink}, in a directory that is made again if it is gone. */
  async #create(token: string): Promise<string | undefined> {
    this.#seenMs = performance.now() // before the call, or the link could be older than it looks
    try {
      return await createLink(this.#path, token)
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw error
      await this.#presence.touch()
      return createLink(this.#path, token)
    }
  }

  /** As {@link replaceLink}. If the directory is gone, so is the link: it has to be created. */
  async #replace(dead: string, replacement: Replacement): Promise<boolean> {
    this.#seenMs = performance.now()
    try {
      return await replaceLink(this.#path, dead, replacement)
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw error
      return false
    }
  }

  async #confirm(): Promise<boolean> {
    const token = this.#token
    if (!token) return false
    const beforeMs = performance.now()
    try {
      const found = await readLink(this.#path)
      if (found === token || (!found && (await this.#makeAgain(token)))) {
        this.#seenMs = beforeMs
        return this.#token === token
      }
    } catch {
      this.#presence.keepFile() // a link that cannot be confirmed may be another's at any moment
    }
    return false
  }

  /** Another process may have had the key since the file was removed, so this is another tenure. */
  async #makeAgain(token: string): Promise<boolean> {
    if (this.#tenure) this.#tenure.ended = true
    await this.#presence.touch() // our socket may be gone, too
    if (this.#token !== token || (await createLink(this.#path, token))) return false
    this.#tenure = { ended: false }
    return true
  }

  #isSeen(withinMs: number): boolean {
    return this.#tenure?.ended === false && performance.now() - this.#seenMs <= withinMs
  }
}

function pause(delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const finish = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', finish)
      resolve()
    }
    const timer = setTimeout(finish, delayMs)
    signal.addEventListener('abort', finish)
    if (signal.aborted) finish()
  })
}
