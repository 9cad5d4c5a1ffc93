// SPDX-License-Identifier: MIT

/**
 * An `AbortSignal` that follows another after a delay.
 *
 * When a client goes away, its request's signal aborts at once, and a store that was given that
 * signal throws away what it was saving. Give the store a delayed signal instead: work that is
 * nearly done still finishes, and work that hangs is still aborted.
 *
 * Design. All followers of one parent share one listener on it: Node keeps listeners in a list
 * that it walks for every change, and Node 20 warns from the eleventh on. The followers are held
 * strongly, because a follower that is reachable only through its signal must still abort;
 * therefore each must be disposed of. `AbortSignal.any` with `AbortSignal.timeout` was rejected:
 * it has no dispose and leaks a record for each signal while the parent lives.
 *
 * Self-contained: this file uses Node's globals only.
 *
 * @module
 */

/** A signal that must be disposed of, by `dispose()` or by `using`, once the work it guards is over. */
export interface DelayedSignal extends AbortSignal, Disposable {
  /** Forgets the parent and the timer: the signal will not abort any more. May be called twice. */
  dispose(): void
}

export interface DelayedSignalOptions {
  /** Whether the running delay keeps the process alive. Default: false, as for `AbortSignal.timeout`. */
  readonly ref?: boolean | undefined
}

/** Above this, Node's timers fire at once instead of late. */
const MAX_TIMER_MS = 2 ** 31 - 1

/** For each parent that has not aborted, what to call when it does. Emptied by `dispose`. */
const followersByParent = new WeakMap<AbortSignal, Set<() => void>>()

/**
 * Returns a signal that aborts `delayMs` milliseconds after `parent`, with the parent's reason.
 *
 * 1. A parent that has aborted already starts the delay now.
 * 2. A delay of `0` aborts together with the parent, without a timer; `Infinity` never aborts.
 * 3. `dispose()` removes every listener and timer; the signal then stays as it is.
 *
 * It does not shorten anything: the delay is counted from the parent's abort, not from the call.
 *
 * Comparison. `AbortSignal.any([parent, AbortSignal.timeout(ms)])` aborts with whichever comes first,
 * which is the opposite. A `setTimeout` in a listener of the parent does the same as this function, but
 * leaves a listener on the parent for each piece of work that ended well.
 *
 * @throws {TypeError} if `parent` is not an `AbortSignal` or `delayMs` is not a number;
 * {@link RangeError} if `delayMs` is out of bounds. Source: "Resilient uploads", FOSDEM 2026 (there:
 * `newDelayedContext`).
 *
 * @example Ten more seconds for a save whose client has gone
 * ```ts
 * import { setTimeout as slowSave } from 'node:timers/promises'
 * import { delayedSignal } from 'longhaul/delayed-signal'
 *
 * const client = new AbortController()
 * const signal = delayedSignal(client.signal, 10_000)
 * try {
 *   client.abort(new Error('client went away'))
 *   console.log(await slowSave(20, 'saved', { signal }))
 * } finally {
 *   signal.dispose()
 * }
 * ```
 */
export function delayedSignal(parent: AbortSignal, delayMs: number, options: DelayedSignalOptions = {}): DelayedSignal {
  if (typeof parent?.addEventListener !== 'function' || typeof parent.aborted !== 'boolean') {
    throw new TypeError(`Cannot follow the parent as it must be an AbortSignal: received ${typeof parent}`)
  }
  duration('delayMs', delayMs, { leastMs: 0, never: Infinity })

  const controller = new AbortController()
  let timer: NodeJS.Timeout | undefined
  const abort = (): void => controller.abort(parent.reason)
  const start = (): void => {
    if (delayMs === 0) return abort()
    timer = setTimeout(abort, delayMs)
    if (!options.ref) timer.unref()
  }
  const dispose = (): void => {
    clearTimeout(timer)
    unfollow(parent, start)
  }

  if (delayMs !== Infinity) {
    if (parent.aborted) start()
    else follow(parent, start)
  }
  return Object.assign(controller.signal, { dispose, [Symbol.dispose]: dispose })
}

function follow(parent: AbortSignal, follower: () => void): void {
  const followers = followersByParent.get(parent)
  if (followers) {
    followers.add(follower)
    return
  }
  followersByParent.set(parent, new Set([follower]))
  parent.addEventListener('abort', startFollowers, { once: true })
}

function unfollow(parent: AbortSignal, follower: () => void): void {
  const followers = followersByParent.get(parent)
  if (!followers?.delete(follower) || followers.size > 0) return
  followersByParent.delete(parent)
  parent.removeEventListener('abort', startFollowers)
}

function startFollowers(event: Event): void {
  const parent = event.target as AbortSignal
  const followers = followersByParent.get(parent)
  followersByParent.delete(parent)
  for (const start of followers ?? []) start()
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
