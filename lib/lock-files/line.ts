// SPDX-License-Identifier: MIT

/**
 * The line of those who want one key through one process.
 *
 * A line has claims of this process, and visitors from others, in order of arrival. It gets the
 * file once for all claims of this process that stand before the first visitor, and passes it on
 * from one to the next without touching the disk. If nobody is left, the file lingers, and the next
 * claim of this process has it at once. When a visitor is the first, or the lingering ends, the
 * file is removed, and the visitor takes its turn.
 *
 * Design. Whatever happens to a line, `#advance` says what comes next, and `#serve` repeats it
 * until the lock is held, or its file lingers, or the line is over. There is one `#serve` at a
 * time. Those that come in between join the line, and have their turn.
 *
 * Part of the folder `lock-files`, which is self-contained.
 *
 * @module
 */

import type { Lingering } from './lingering.ts'
import { LockFile, type LockFilesTenure } from './lock-file.ts'
import { LockFilesError } from './lock-files-error.ts'
import type { Presence } from './presence.ts'
import type { Visitor } from './visit.ts'

/** A request of this process. */
export interface LocalClaim {
  readonly kind: 'local'
  /** One that only asks is refused with `LOCK_TIMEOUT` if another process has the lock. */
  readonly patience: 'waits' | 'asks'
  /** Hands the lock over. */
  readonly grant: (tenure: LockFilesTenure) => void
  readonly refuse: (reason: unknown) => void
  /** Says after a release that the next one has the lock, or that the file lingers or is gone. */
  readonly passedOn: () => void
  /** Asks for the lock back; `undefined` once it has been asked. */
  askToRelease: (() => void) | undefined
  readonly onLost: (() => void) | undefined
}

/** What the lines of a process share, and whom to tell. */
interface LineOptions {
  readonly presence: Presence
  readonly lingering: Lingering
  readonly onOver: () => void
}

/** The line for one key. It is over when it is empty and its file is gone. */
export class Line {
  readonly #file: LockFile
  readonly #lingering: Lingering
  readonly #onOver: () => void
  /** In order of arrival. */
  readonly #claims = new Set<LocalClaim | Visitor>()
  #holder: LocalClaim | undefined
  /** Former holders, which wait to be told. */
  readonly #former = new Set<LocalClaim>()
  /** Whether the file is ours, without a holder and with nobody in the line. */
  #lingers = false
  /** How often the lock was granted since we got the file. */
  #grants = 0
  #fetching: AbortController | undefined
  #isServing = false
  #served: Promise<void> = Promise.resolve()

  constructor(path: string, { presence, lingering, onOver }: LineOptions) {
    this.#file = new LockFile(path, presence)
    this.#lingering = lingering
    this.#onOver = onOver
  }

  get isHeld(): boolean {
    return this.#holder !== undefined
  }

  /** Whether nobody has the lock in this line, and nobody waits for it. */
  get isEmpty(): boolean {
    return this.#claims.size === 0
  }

  /** Resolves when the lock is held, or its file lingers, or the line is over. */
  get served(): Promise<void> {
    return this.#served
  }

  join(claim: LocalClaim): void {
    this.#claims.add(claim)
    this.#askHolder()
    this.#start()
  }

  /** Takes in a visitor, if it asks for the token that we have or are about to have. */
  receive(visitor: Visitor, token: string): boolean {
    if (token !== this.#file.token) return false
    if (visitor.patience === 'asks' && !this.isEmpty) {
      visitor.sendAway()
      return true
    }
    this.#claims.add(visitor)
    visitor.onLeave(() => this.#claims.delete(visitor))
    // At this answer it leaves the line that it comes from. Without a holder, `#grant` answers.
    if (this.#holder) visitor.place()
    this.#askHolder()
    if (this.#lingers && this.#grants < 2) this.#lingering.pause() // it was of no use
    this.#start()
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
    if (this.#holder !== claim) return
    this.#holder = undefined
    this.#claims.delete(claim)
    this.#former.add(claim)
    this.#start()
  }

  /** Whether a claim has the lock. Makes its file again if it was removed. */
  async isHeldBy(claim: LocalClaim): Promise<boolean> {
    if (this.#holder !== claim) return false
    if (!(await this.#file.isOursNow())) this.lose()
    return this.#holder === claim && this.#file.tenure !== undefined
  }

  /** Checks the file of a lock that is held, and keeps its times recent. Does not reject. */
  async renew(): Promise<void> {
    if (!this.#holder) return
    if (await this.#file.confirm()) await this.#file.touch()
    else this.lose()
  }

  /** Ends the lingering. */
  letGo(): void {
    this.#lingers = false
    this.#isServing = true
    this.#served = this.#file.giveUp().then(() => this.#serve())
  }

  /** Gives up a lock that another process has, or may get. The claims here wait for that one. */
  lose(): void {
    if (!this.#file.tenure) return
    this.#file.forget()
    for (const claim of this.#claims) if (claim.kind === 'remote') claim.dismiss()
    if (this.#holder?.onLost) this.#callBack(this.#holder, this.#holder.onLost)
  }

  #start(): void {
    if (this.#isServing || this.#holder) return
    if (this.#lingers) this.#lingering.remove(this)
    this.#lingers = false
    this.#served = this.#serve()
  }

  async #serve(): Promise<void> {
    this.#isServing = true
    while (!this.#holder && !this.#lingers && (this.#file.tenure || this.#claims.size > 0)) {
      if (!this.#file.tenure) this.#tellFormer() // the next step may take long
      await this.#advance()
    }
    this.#isServing = false
    if (!this.#holder && !this.#lingers) this.#onOver()
    this.#tellFormer()
  }

  /** The next step of a line whose lock nobody holds. */
  async #advance(): Promise<void> {
    const claim = first(this.#claims)
    if (!this.#file.tenure) {
      if (claim?.kind === 'local') await this.#obtain(claim)
      else if (claim) await this.#giveTurn(claim)
    } else if (claim?.kind === 'local') {
      if (await this.#file.isOurs()) this.#grant()
      else this.lose()
    } else if (claim || !this.#linger()) {
      await this.#file.giveUp()
    }
  }

  /** Gets the file for the claims of this process. If that fails, the first of them is refused. */
  async #obtain(claim: LocalClaim): Promise<void> {
    this.#grants = 0
    this.#fetching = new AbortController()
    try {
      if (claim.patience === 'waits') await this.#file.takeInTurn(this.#fetching.signal)
      else if (!(await this.#file.takeAtOnce())) throw new LockFilesError('LOCK_TIMEOUT', 'The lock is held')
    } catch (error) {
      claim.refuse(error)
    }
    this.#fetching = undefined
  }

  #grant(): void {
    const claim = first(this.#claims)
    if (claim?.kind !== 'local' || !this.#file.tenure) return
    this.#holder = claim
    this.#grants += 1
    claim.grant(this.#file.tenure)
    for (const behind of this.#claims) if (behind.kind === 'remote') behind.place()
    this.#askHolder()
  }

  /** Keeps the file for the next claim. False if it has to go. */
  #linger(): boolean {
    return (this.#lingers = this.#file.tenure?.ended === false && this.#lingering.add(this))
  }

  async #giveTurn(visitor: Visitor): Promise<void> {
    this.#claims.delete(visitor)
    await visitor.giveTurn()
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
    for (const former of this.#former) former.passedOn()
    this.#former.clear()
  }
}

function first<T>(items: Set<T>): T | undefined {
  return items.values().next().value
}
