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
  /** How long to wait, in milliseconds, at most 2^31-1. Default: without limit. */
  readonly timeoutMs?: number | undefined
  /** Called once, at the latest when the lock is granted, if somebody waits behind. Must not throw. Default: none. */
  readonly onReleaseRequest?: (() => void) | undefined
}

interface Claim {
  readonly grant: () => void
  /** Asks for the lock back; `undefined` once it has been asked. */
  askToRelease: (() => void) | undefined
}

/**
 * Gives out one hold a key at a time, within this process.
 *
 * 1. A free key is granted at once.
 * 2. Otherwise the holder's `onReleaseRequest` is called before `acquire` returns, and the newcomer
 *    waits behind those who came before it.
 * 3. `release()` grants the key to the next in line, which is asked for it at once if others wait.
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
   * @throws {KeyedLockTimeoutError} after `timeoutMs`; the signal's reason when that aborts first.
   */
  acquire(key: string, options: KeyedLockOptions = {}): Promise<KeyedLockHold> {
    const { signal, timeoutMs, onReleaseRequest } = options
    if (signal?.aborted) return Promise.reject(signal.reason)

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
        if (timeoutMs !== undefined) timer = setTimeout(onTimeout, timeoutMs)
        signal?.addEventListener('abort', onAbort)
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
  ask()
}

function first(claims: Set<Claim>): Claim | undefined {
  return claims.values().next().value
}
