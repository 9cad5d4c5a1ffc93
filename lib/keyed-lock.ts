// SPDX-License-Identifier: MIT

/**
 * One holder a key, first come first served; a newcomer asks the holder to let go.
 *
 * A client that lost its connection comes back before the server has noticed. Its new request must
 * not fail, nor wait for a timeout, and must never write beside the old one. So the newcomer's
 * wish is pushed to the holder, which stops reading, saves and releases: milliseconds later the
 * newcomer has the lock.
 *
 * Design. The claims on a key stand in a `Set`, which keeps their order and removes any of them
 * in one step; the first is the holder. Nothing polls and no timer runs without a `timeoutMs`.
 * A holder is asked in a turn of the event loop of its own. By then the holder has its hold, and
 * what it throws reaches neither the newcomer's promise nor somebody's `release`. A microtask
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

/** The lock was not handed over within `timeoutMs`. Compare `code`, not the class. */
export class KeyedLockTimeoutError extends Error {
  override readonly name: string = 'KeyedLockTimeoutError'
  readonly code = 'LOCK_TIMEOUT'
}

/** Options of {@link KeyedLock.acquire}. */
export interface KeyedLockOptions {
  /** Gives up waiting when it aborts; without effect once the lock is held. Default: none. */
  readonly signal?: AbortSignal | undefined
  /** How long to wait, in milliseconds: 0 to 2^31-1, or Infinity for no limit. Default: Infinity. */
  readonly timeoutMs?: number | undefined
  /**
   * Called at most once, if somebody waits behind, in a turn of the event loop of its own. It is
   * not called after the release. What it throws is an uncaught exception. Default: none.
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
 * Gives out one hold a key at a time, within this process.
 *
 * 1. A free key is granted at once.
 * 2. Otherwise the holder's `onReleaseRequest` is called in the next turn of the event loop, and the
 *    newcomer waits behind those who came before it.
 * 3. `release()` grants the key to the next in line, which is asked for it in turn if others wait.
 *
 * The holder decides when it lets go: nothing is taken from it. Keys without claims take no memory.
 * It does not reach other processes, and it is not re-entrant: who acquires twice waits for itself.
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
   * @throws {KeyedLockTimeoutError} after `timeoutMs`; the signal's reason when that aborts first;
   * {@link TypeError} if `timeoutMs` is not a number, {@link RangeError} if it is out of bounds.
   */
  async acquire(key: string, options: KeyedLockOptions = {}): Promise<KeyedLockHold> {
    const { signal, onReleaseRequest } = options
    const timeoutMs = duration('timeoutMs', options.timeoutMs ?? Infinity, 0, Infinity)
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
      const onTimeout = (): void => giveUp(new KeyedLockTimeoutError(`The lock was not released within ${timeoutMs} ms`))
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

  /** Holds the key if it is free; resolves with `undefined` if it is not, and its holder is not asked for it. */
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
      if (claims.size > 1) askHolder(claims)
    }
  }
}

function askHolder(claims: Set<Claim>): void {
  const holder = first(claims)
  const ask = holder?.askToRelease
  if (!holder || !ask) return
  holder.askToRelease = undefined
  setImmediate(() => {
    if (first(claims) !== holder) return
    if (claims.size > 1) ask()
    else holder.askToRelease = ask // the newcomer has given up
  })
}

/** Milliseconds that a timer can count. `never` is Infinity where there may be a never. */
function duration(name: string, value: number, leastMs: 0 | 1, never?: typeof Infinity): number {
  const what = `Cannot wait as ${name} must be`
  if (typeof value !== 'number') throw new TypeError(`${what} a number: received ${typeof value}`)
  if ((value >= leastMs && value <= MAX_TIMER_MS) || value === never) return value
  const bounds = `${leastMs} to ${MAX_TIMER_MS} milliseconds${never === undefined ? '' : ' or Infinity'}`
  throw new RangeError(`${what} ${bounds}: received ${value}`)
}

function first(claims: Set<Claim>): Claim | undefined {
  return claims.values().next().value
}
