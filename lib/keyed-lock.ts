// SPDX-License-Identifier: MIT

/**
 * One holder per key, first come, first served; a newcomer asks the holder to let go.
 *
 * A client that lost its connection comes back before the server has noticed. Its new request must
 * not fail, nor wait for a timeout, and must never write beside the old one. So the newcomer's
 * wish is pushed to the holder, which stops reading, saves and releases. Milliseconds later the
 * newcomer has the lock.
 *
 * Design. The claims on a key stand in a `Set`, which keeps their order and removes any of them
 * in one step. The first is the holder. Nothing polls, and no timer runs without a `timeoutMs`.
 * A holder is asked in a turn of the event loop of its own. By then the holder has its hold, and
 * an error that it throws does not reach the newcomer's promise or another's `release`. A microtask
 * would be too early where `acquire` is behind an `async` function.
 *
 * Self-contained: this file uses Node's globals only.
 *
 * @module
 */

/** A key that is held. */
export interface KeyedLockHold extends Disposable {
  /** Passes the key on to the next in line. May be called twice. */
  release(): void
}

/** What went wrong: the holder did not release the key within `timeoutMs`. */
export type KeyedLockErrorCode = 'LOCK_TIMEOUT'

/** A key could not be acquired. Compare `code`, not the class. */
export class KeyedLockError extends Error {
  override readonly name: string = 'KeyedLockError'
  readonly code: KeyedLockErrorCode

  constructor(code: KeyedLockErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** How to wait for a key, and what to do when others want it. */
export interface KeyedLockAcquireOptions {
  /** Gives up waiting when it aborts. It has no effect once the lock is held. Default: none. */
  readonly signal?: AbortSignal | undefined
  /** Longest wait, in milliseconds: 0 to 2^31-1, or Infinity for no limit. Default: Infinity. */
  readonly timeoutMs?: number | undefined
  /**
   * Called at most once, as soon as somebody else waits, in a turn of the event loop of its own. It
   * is not called after the release. What it throws is an uncaught exception. Default: none.
   */
  readonly onReleaseRequest?: (() => void) | undefined
}

/** Above this, Node's timers fire at once instead of late. */
const MAX_TIMER_MS = 2 ** 31 - 1

interface Claim {
  readonly grant: () => void
  /** Asks for the lock back; `undefined` once it has been asked. */
  askToRelease: (() => void) | undefined
}

/**
 * Gives out one hold per key at a time, within this process.
 *
 * 1. A free key is granted at once.
 * 2. Otherwise the holder's `onReleaseRequest` is called in the next turn of the event loop, and
 *    the newcomer waits behind those that came before it.
 * 3. `release()` grants the key to the next in line. If others wait behind that one, it is asked
 *    to let go in turn.
 *
 * The holder decides when it lets go: nothing is taken from it. Keys without claims take no memory.
 * It does not reach other processes. It is not re-entrant: acquiring a key you hold deadlocks.
 *
 * Comparison. In a chain of promises per key, a newcomer cannot give up its place. A mutex library
 * has timeouts, and some have keys, but a newcomer waits until the holder itself notices that its
 * client is gone. Here the newcomer asks the holder, and waits only until the holder has saved.
 *
 * @example The second request ends the first
 * ```ts
 * import { KeyedLock } from 'longhaul/keyed-lock'
 *
 * const locks = new KeyedLock()
 * const first = await locks.acquire('upload-1', { onReleaseRequest: () => first.release() })
 * const second = await locks.acquire('upload-1', { timeoutMs: 1000 })
 * second.release()
 * ```
 */
export class KeyedLock {
  readonly #claimsByKey = new Map<string, Set<Claim>>()

  /**
   * Waits for the key and holds it.
   *
   * @throws {KeyedLockError} `LOCK_TIMEOUT` after `timeoutMs`; the signal's reason when that aborts
   * first; {@link TypeError} if `timeoutMs` is not a number, {@link RangeError} if it is out of
   * bounds.
   */
  async acquire(key: string, options: KeyedLockAcquireOptions = {}): Promise<KeyedLockHold> {
    const { signal, onReleaseRequest } = options
    const timeoutMs = duration('timeoutMs', options.timeoutMs ?? Infinity, { leastMs: 0, never: Infinity })
    signal?.throwIfAborted()

    return new Promise((resolve, reject) => {
      const stopWaiting = (): void => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', onAbort)
      }
      const giveUp = (reason: unknown): void => {
        stopWaiting()
        this.#remove(key, claim)
        reject(reason)
      }
      const onAbort = (): void => giveUp(signal?.reason)
      const onTimeout = (): void => {
        giveUp(new KeyedLockError('LOCK_TIMEOUT', `The lock was not released within ${timeoutMs} ms`))
      }
      const release = (): void => this.#remove(key, claim)
      const claim: Claim = {
        grant: () => {
          stopWaiting()
          resolve({ release, [Symbol.dispose]: release })
        },
        askToRelease: onReleaseRequest,
      }
      let timer: ReturnType<typeof setTimeout> | undefined
      if (this.#claimsByKey.has(key)) { // otherwise there is nothing to wait for
        signal?.addEventListener('abort', onAbort)
        if (timeoutMs !== Infinity) timer = setTimeout(onTimeout, timeoutMs)
      }
      this.#add(key, claim)
    })
  }

  /** Holds the key if it is free; otherwise resolves with `undefined`. The holder is not asked. */
  async tryAcquire(key: string): Promise<KeyedLockHold | undefined> {
    return this.#claimsByKey.has(key) ? undefined : this.acquire(key)
  }

  #add(key: string, claim: Claim): void {
    const claims = this.#claimsByKey.get(key)
    if (!claims) {
      this.#claimsByKey.set(key, new Set([claim]))
      claim.grant()
      return
    }
    claims.add(claim)
    askHolder(claims)
  }

  #remove(key: string, claim: Claim): void {
    const claims = this.#claimsByKey.get(key)
    if (!claims) return
    const held = first(claims) === claim
    claims.delete(claim)
    if (claims.size === 0) this.#claimsByKey.delete(key)
    else if (held) {
      first(claims)?.grant()
      askHolder(claims)
    }
  }
}

/** Asks the holder once to let go, if others are behind it. */
function askHolder(claims: Set<Claim>): void {
  const holder = first(claims)
  const ask = holder?.askToRelease
  if (!holder || !ask || claims.size < 2) return
  holder.askToRelease = undefined
  setImmediate(() => {
    if (first(claims) !== holder) return
    if (claims.size > 1) ask()
    else holder.askToRelease = ask // the newcomer has given up
  })
}

/** Milliseconds that a timer can count; Infinity only where `never` allows it. */
function duration(name: string, value: number, bounds: { leastMs: 0 | 1; never?: typeof Infinity }): number {
  const { leastMs, never } = bounds
  const what = `Cannot wait as ${name} must be`
  if (typeof value !== 'number') throw new TypeError(`${what} a number: received ${typeof value}`)
  if ((value >= leastMs && value <= MAX_TIMER_MS) || value === never) return value
  const range = `${leastMs} to ${MAX_TIMER_MS} milliseconds${never === undefined ? '' : ' or Infinity'}`
  throw new RangeError(`${what} ${range}: received ${value}`)
}

function first(claims: Set<Claim>): Claim | undefined {
  return claims.values().next().value
}
