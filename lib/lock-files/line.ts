// SPDX-License-Identifier: MIT

/**
 * The line of those who want one key through one process.
 *
 * A line has claims of this process, and visitors from others, in order of arrival. It gets the
 * file once for all claims of this process that stand before the first visitor, and passes it on
 * from one to the next without touching the disk. Then it removes the file, and the visitor takes
 * its turn.
 *
 * To get the file, it tries to create the link. If the link exists, it visits the process that the
 * link names, waits in its line until it hangs up or dies, and tries again. The link of a dead
 * process is replaced. A `tryAcquire` does the same without waiting.
 *
 * The line sets its token before it creates the link. Another process may read the token there and
 * visit before the call that wrote it has returned.
 *
 * Part of the folder `lock-files`, which is self-contained.
 *
 * @module
 */

import { lutimes, unlink } from 'node:fs/promises'
import { hasCode, LockFilesError } from './lock-files-error.ts'
import { createLink, makeToken, readLink, replaceLink, type Replacement } from './lock-link.ts'
import type { Presence } from './presence.ts'
import { visit, type Visit, type Visitor } from './visit.ts'

/** A request of this process. */
export interface LocalClaim {
  readonly kind: 'local'
  /** Hands the lock over; resolves when it is released. */
  readonly grant: () => Promise<void>
  readonly refuse: (reason: unknown) => void
  /** Tells the former holder that the next one has the lock, or that its file is gone. */
  readonly passedOn: () => void
  /** Asks for the lock back; `undefined` once it has been asked. */
  askToRelease: (() => void) | undefined
  readonly onLost: (() => void) | undefined
}

/** The longest pause before a holder that cannot be waited for is looked at again. */
const MAX_PAUSE_MS = 1000

/** The line for one key. It lasts until it is empty. */
export class Line {
  readonly #path: string
  readonly #presence: Presence
  readonly #onEmpty: () => void
  /** In order of arrival. */
  readonly #claims = new Set<LocalClaim | Visitor>()
  /** What others read in the file while it is ours, or may read at any moment. */
  #token: string | undefined
  #holder: LocalClaim | undefined
  /** The former holder, which waits to be told. */
  #former: LocalClaim | undefined
  /** The check of the holder's file that is in progress. */
  #confirming: Promise<boolean> | undefined
  #fetching: AbortController | undefined
  #served: Promise<void> | undefined

  constructor(path: string, presence: Presence, onEmpty: () => void) {
    this.#path = path
    this.#presence = presence
    this.#onEmpty = onEmpty
  }

  get isHeld(): boolean {
    return this.#holder !== undefined
  }

  /** Resolves when the line is empty. */
  get served(): Promise<void> | undefined {
    return this.#served
  }

  /** Takes in a claim that waits. */
  join(claim: LocalClaim): void {
    this.#claims.add(claim)
    this.#askHolder()
    this.#served ??= this.#serve()
  }

  /** Takes in the first claim of a new line. If it had to wait, it gets `LOCK_TIMEOUT`. */
  tryJoin(claim: LocalClaim): void {
    this.#claims.add(claim)
    this.#served = this.#serveAtOnce(claim)
  }

  /** Takes in a visitor, if it asks for the token that we have or are about to have. */
  receive(visitor: Visitor, token: string): boolean {
    if (token !== this.#token) return false
    this.#claims.add(visitor)
    visitor.onLeave(() => this.#claims.delete(visitor))
    // At this answer it leaves the line that it comes from. Without a holder, `#grant` answers.
    if (this.#holder) visitor.place()
    this.#askHolder()
    return true
  }

  /** Removes a claim that has given up. */
  leave(claim: LocalClaim): void {
    this.#claims.delete(claim)
    // The file is fetched for the whole line: the next one here must not lose the place.
    for (const { kind } of this.#claims) if (kind === 'local') return
    this.#fetching?.abort()
  }

  /** Refuses the claims that wait. */
  refuse(reason: unknown): void {
    for (const claim of this.#claims) if (claim.kind === 'local' && claim !== this.#holder) claim.refuse(reason)
  }

  release(claim: LocalClaim): void {
    if (this.#holder === claim) this.#holder = undefined
  }

  /** Whether a claim has the lock. Makes its file again if it was removed. */
  async isHeldBy(claim: LocalClaim): Promise<boolean> {
    return this.#holder === claim && (await this.#confirm()) && this.#holder === claim
  }

  /** Checks the file of a lock that is held, and keeps its times recent. Does not reject. */
  async renew(): Promise<void> {
    if (!this.#holder || !(await this.#confirm())) return
    const now = new Date()
    await lutimes(this.#path, now, now).catch(() => {})
  }

  /** Gives up a lock that another process has, or may get. The claims here wait for that one. */
  lose(): void {
    if (!this.#token) return
    this.#token = undefined
    for (const claim of this.#claims) if (claim.kind === 'remote') claim.dismiss()
    if (this.#holder?.onLost) this.#callBack(this.#holder, this.#holder.onLost)
  }

  async #serve(): Promise<void> {
    for (let claim = first(this.#claims); claim; claim = first(this.#claims)) {
      this.#tellFormer()
      if (claim.kind === 'local') {
        await this.#serveLocal(claim, (token) => this.#fetch(token))
      } else {
        await claim.giveTurn()
        this.#claims.delete(claim)
      }
    }
    this.#onEmpty()
    this.#tellFormer() // only now, or a `tryAcquire` after the release would find the line
  }

  async #serveAtOnce(claim: LocalClaim): Promise<void> {
    await this.#serveLocal(claim, async (token) => {
      if (await this.#take(token)) return true
      throw new LockFilesError('LOCK_TIMEOUT', 'The lock is held')
    })
    await this.#serve()
  }

  async #serveLocal(claim: LocalClaim, getFile: (token: string) => Promise<boolean>): Promise<void> {
    const token = (this.#token = makeToken(this.#presence.name))
    try {
      if (await getFile(token)) await this.#grant()
    } catch (error) {
      claim.refuse(error)
    }
    this.#token = undefined
  }

  /** Lets the local claims at the head of the line have the file in turn, then gives it up. */
  async #grant(): Promise<void> {
    for (let claim = first(this.#claims); claim?.kind === 'local' && this.#token; claim = first(this.#claims)) {
      this.#tellFormer()
      this.#holder = claim
      const released = claim.grant()
      for (const behind of this.#claims) if (behind.kind === 'remote') behind.place()
      this.#askHolder()
      await released
      this.#claims.delete(claim)
      this.#former = claim
    }
    await this.#confirming // or it might make the file again when it is gone
    try {
      if (this.#token && (await readLink(this.#path)) === this.#token) await unlink(this.#path)
    } catch {
      // Once we do not know its token any more, the next one replaces the link.
      this.#presence.keepFile()
    }
  }

  /** Gets the file if it is free or its holder is dead. Waits for nobody. */
  async #take(token: string): Promise<boolean> {
    const isAbandoned = (maker: string, guard: string): Promise<boolean> => this.#presence.isDead(maker, guard)
    await this.#presence.touch()
    const holder = await this.#create(token)
    if (!holder) return true
    if (!(await this.#presence.isDead(holder, this.#path))) return false
    return this.#replace(holder, { token, isAbandoned })
  }

  /** Gets the file, however long it takes. False if all claims of this process have left. */
  async #fetch(token: string): Promise<boolean> {
    const { signal } = (this.#fetching = new AbortController())
    const isAbandoned = async (maker: string, guard: string): Promise<boolean> => {
      const { state, leave } = await visit(this.#presence.addressOf(maker), maker, { signal })
      leave()
      return this.#presence.isDead(maker, guard, state)
    }
    let place: Visit | undefined
    let previous: string | undefined
    let inVain = 0
    try {
      await this.#presence.touch() // proves as well that our socket is where others look for it
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
      this.#fetching = undefined
    }
  }

  /** As {@link createLink}, in a directory that is made again if it is gone. */
  async #create(token: string): Promise<string | undefined> {
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
    try {
      return await replaceLink(this.#path, dead, replacement)
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw error
      return false
    }
  }

  /** Whether the file is still ours; one that was removed is made again. */
  #confirm(): Promise<boolean> {
    return (this.#confirming ??= this.#confirmOnce().finally(() => (this.#confirming = undefined)))
  }

  async #confirmOnce(): Promise<boolean> {
    const token = this.#token
    if (!token) return false
    try {
      const found = await readLink(this.#path)
      if (found === token) return true
      if (!found) {
        await this.#presence.touch() // our socket may be gone, too
        if (this.#token && !(await createLink(this.#path, token))) return true
      }
    } catch {
      this.#presence.keepFile() // a link that cannot be confirmed may be another's at any moment
    }
    this.lose()
    return false
  }

  /** Asks the holder once to let go, if others are behind it. */
  #askHolder(): void {
    const holder = this.#holder
    const ask = holder?.askToRelease
    if (!holder || !ask || this.#claims.size < 2) return
    holder.askToRelease = undefined
    this.#callBack(holder, () => {
      if (this.#claims.size > 1) ask()
      else holder.askToRelease = ask // the newcomer has given up
    })
  }

  /**
   * Calls a holder back in a turn of its own: when its `acquire` has resolved, behind however many
   * `await`, and where an error that it throws does not reach another's promise.
   */
  #callBack(holder: LocalClaim, callback: () => void): void {
    setImmediate(() => {
      if (this.#holder === holder) callback()
    })
  }

  #tellFormer(): void {
    this.#former?.passedOn()
    this.#former = undefined
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

function first<T>(items: Set<T>): T | undefined {
  return items.values().next().value
}
