// SPDX-License-Identifier: MIT

/**
 * One holder per key among the processes of a host, first come, first served.
 *
 * Behind a cluster, or in a rolling restart, the request that takes over an upload is often in
 * another process than the request that holds it. A lock in memory does not reach that far. A lock
 * file outlives a crash, and a lock file with a time limit is either taken from a live process or
 * makes everybody wait for a dead one. Here the newcomer's wish is pushed to the holder. It has the
 * lock milliseconds after the release, and a holder that was killed is replaced as fast.
 *
 * Design. Seven parts, which lean on those below them:
 *
 * - This file has the promise: open, acquire, release, close.
 * - `line.ts`: the claims on one key in this process. The line gets the file and passes it on.
 * - `lock-file.ts`: the file of one key. It waits for its turn to make it, and knows how long it had it.
 * - `lingering.ts`: a file that was released stays for a moment, in case it is wanted again.
 * - `presence.ts`: a live process listens on a Unix socket. If the socket refuses, it is dead.
 * - `visit.ts`: a process waits for another by staying connected to its socket.
 * - `lock-link.ts`: a lock is a symbolic link that names the holder's socket.
 *
 * `leftovers.ts` clears up behind the dead when a process opens the directory.
 *
 * Self-contained: this folder imports `node:` builtins only.
 *
 * @module
 */

import { mkdir } from 'node:fs/promises'
import { join, resolve as absolute } from 'node:path'
import { removeLeftovers } from './leftovers.ts'
import { Line, type LocalClaim } from './line.ts'
import { Lingering } from './lingering.ts'
import type { LockFilesTenure } from './lock-file.ts'
import { hasCode, LockFilesError } from './lock-files-error.ts'
import { createLink, makeToken, readLink, removeFile } from './lock-link.ts'
import { Presence, thisHost } from './presence.ts'
import type { Visitor } from './visit.ts'

export type { LockFilesTenure } from './lock-file.ts'
export { LockFilesError, type LockFilesErrorCode } from './lock-files-error.ts'

/** A key that is held. */
export interface LockFilesHold extends AsyncDisposable {
  /**
   * In which tenure the key is held. The same object as at an earlier hold: no other process has
   * had the key in between. It ends early if the link was removed by somebody and made again.
   */
  readonly tenure: LockFilesTenure
  /**
   * Whether the key is still held. It reads the lock's link, unless that was read or made within
   * the last 50 ms, and makes a removed link again. It is false after the release, after `close()`,
   * and once another process has the key. It never rejects: if the link can be neither read nor
   * made again, the lock is lost.
   */
  isHeld(): Promise<boolean>
  /**
   * Passes the key on. Resolves once the next in this process has it or could have it, or, if
   * another process waits, its file is gone. It may be called twice. It never rejects: a file that
   * cannot be removed is given up, and the next process that waits for it replaces it like a dead
   * holder's.
   */
  release(): Promise<void>
}

/** What a directory of locks is opened with. */
export interface LockFilesOptions {
  /**
   * How long a lock counts as held after its process was last seen, in milliseconds, if that
   * process cannot be reached. That is so for locks from before a restart of the host, for a
   * process whose socket was removed and, as a best effort, for processes on other hosts that share
   * the directory. It must be the same in all processes, and their clocks may differ by less.
   * A process shows itself four times per lease. 1 to 2^31-1. Default: 60000.
   */
  readonly leaseMs?: number | undefined
}

/** How to wait for a key, and what to do when others want it. */
export interface LockFilesAcquireOptions {
  /** Gives up waiting when it aborts. It has no effect once the lock is held. Default: none. */
  readonly signal?: AbortSignal | undefined
  /** Longest wait, in milliseconds: 0 to 2^31-1, or Infinity for no limit. Default: Infinity. */
  readonly timeoutMs?: number | undefined
  /**
   * Called at most once, as soon as somebody else waits, in a turn of the event loop of its own. It
   * is not called after the release. What it throws is an uncaught exception. Default: none.
   */
  readonly onReleaseRequest?: (() => void) | undefined
  /**
   * Called at most once, in the same way, when the lock is lost: another process has the key, or
   * may get it at any moment. Stop what the lock guards, then release. Default: none.
   */
  readonly onLost?: (() => void) | undefined
}

const KEY = /^[A-Za-z0-9_-]{1,128}$/

/** Above this, Node's timers fire at once instead of late. */
const MAX_TIMER_MS = 2 ** 31 - 1

/**
 * Gives out one hold per key at a time, to all processes of a host that open the same directory.
 *
 * 1. A key that is free, or whose holder died, is granted at once.
 * 2. Otherwise the holder's `onReleaseRequest` is called, in whichever process it is, and the
 *    newcomer waits behind those that came before it.
 * 3. `release()` grants the key to the next in line. If others wait behind that one, it is asked
 *    to let go at once.
 *
 * The holder decides when it lets go: nothing is taken from a live process, not even from one that
 * is stopped. Waiting is an open connection, and costs nothing.
 *
 * The file of a key that was released stays for up to a second, 256 of them at most, and the next
 * claim of this process has it without a call of the file system. Another process that wants it
 * gets it at once. If it came right after the first hold, nothing lingers here for the next ten
 * seconds. A process that is stopped blocks what lingers in it, as it blocks what it holds. Holds
 * without another process's hold between them have the same `tenure`.
 *
 * The order has three exceptions. A process stands in the line of another once, for all its
 * requests that came before a request from elsewhere stood behind them. While the file goes from
 * one process to the next, a third may slip in. And those that wait for a process that dies start
 * over.
 *
 * If somebody removes the directory or files in it, each process makes its own files again within
 * a quarter of `leaseMs`, or as soon as it needs them. Until then another process may take a key
 * that is held. The first holder then gets `onLost`, and its `isHeld()` is false. If the other
 * process has released the key by then, the first holder does not notice, but for the end of its
 * tenure. And what a process last saw of its files it believes for up to a second. So in the second
 * after a removal it may grant a key that another process has taken, and a release may remove the
 * file of the new holder. Both learn of it from `isHeld()`, which believes 50 ms only.
 *
 * The lease serves a restart of the host: locks from before it are free once `leaseMs` have passed.
 * Several hosts that share a directory are a best effort. A holder on another host cannot be asked.
 * Its lock is checked once a second until it is gone or the lease is over, so there the promise is
 * only as good as the clocks.
 *
 * It is not re-entrant: acquiring a key you hold deadlocks.
 *
 * @example One process takes over from another
 * ```ts
 * import { LockFiles } from 'longhaul/lock-files'
 *
 * const here = await LockFiles.open('locks')
 * const there = await LockFiles.open('locks') // in production, in another process
 * const first = await here.acquire('upload-1', { onReleaseRequest: () => first.release() })
 * const second = await there.acquire('upload-1', { timeoutMs: 1000 })
 * console.log('handed over')
 * await second.release()
 * await Promise.all([here.close(), there.close()])
 * ```
 */
export class LockFiles implements AsyncDisposable {
  readonly #directory: string
  readonly #presence: Presence
  readonly #lingering = new Lingering()
  readonly #lines = new Map<string, Line>()
  #heartbeat: NodeJS.Timeout | undefined
  #closed: Promise<void> | undefined

  private constructor(directory: string, leaseMs: number, host: string) {
    this.#directory = directory
    this.#presence = new Presence({
      directory,
      leaseMs,
      host,
      onVisit: (visitor, token) => this.#receive(visitor, token),
      onRestored: () => {
        this.#lingering.letGo()
        void this.#renewHeld()
      },
    })
  }

  /**
   * Makes the directory if need be, listens in it, and removes what dead processes left there. None
   * of this keeps the process alive; an `acquire` that waits does.
   *
   * @throws {LockFilesError} `LOCKS_UNSUPPORTED` with its `cause`, if the directory does not allow
   * sockets or symbolic links; {@link TypeError} if `leaseMs` is not a number, {@link RangeError}
   * if it is out of bounds; errors of the file system if the directory cannot be made.
   */
  static async open(directory: string, options: LockFilesOptions = {}): Promise<LockFiles> {
    const leaseMs = duration('leaseMs', options.leaseMs ?? 60_000, { leastMs: 1 })
    const path = absolute(directory)
    await mkdir(path, { recursive: true, mode: 0o700 })
    const locks = new LockFiles(path, leaseMs, await thisHost())
    const tryAcquire = (key: string): Promise<LockFilesHold | undefined> => locks.tryAcquire(key)
    try {
      await locks.#presence.listen()
      await locks.#assertSymlinks()
      locks.#heartbeat = setInterval(() => void locks.#beat(), leaseMs / 4).unref()
      await removeLeftovers({ directory: path, presence: locks.#presence, tryAcquire })
      locks.#lingering.open() // not before, as nobody here wants the locks of the dead
      return locks
    } catch (cause) {
      await locks.close()
      const message = `Cannot keep locks in ${path} as it must allow Unix sockets and symbolic links: ${cause}`
      throw new LockFilesError('LOCKS_UNSUPPORTED', message, { cause })
    }
  }

  /**
   * Waits for the key and holds it.
   *
   * @throws {LockFilesError} `LOCK_TIMEOUT` after `timeoutMs`, `LOCK_CORRUPT`, `LOCKS_CLOSED`; the
   * signal's reason when that aborts first; {@link TypeError} if the key is not 1 to 128 of A-Z,
   * a-z, 0-9, `_` and `-`, or `timeoutMs` is not a number; {@link RangeError} if that is out of
   * bounds; errors of the file system.
   */
  async acquire(key: string, options: LockFilesAcquireOptions = {}): Promise<LockFilesHold> {
    const timeoutMs = duration('timeoutMs', options.timeoutMs ?? Infinity, { leastMs: 0, never: Infinity })
    assertKey(key)
    options.signal?.throwIfAborted()
    this.#assertOpen()
    const line = this.#lines.get(key) ?? this.#makeLine(key)
    const { claim, hold } = makeClaim(line, { ...options, timeoutMs, patience: 'waits' })
    line.join(claim)
    return hold
  }

  /**
   * Holds the key if it is free, or its holder is dead, or it only lingers in another process;
   * otherwise resolves with `undefined`. No holder is asked to let go. A process that does not
   * answer within 100 ms counts as a holder, as does one of a version that knows no lingering.
   *
   * @throws {LockFilesError} `LOCK_CORRUPT`, `LOCKS_CLOSED`; {@link TypeError} for a key that
   * `acquire` refuses; errors of the file system.
   */
  async tryAcquire(key: string): Promise<LockFilesHold | undefined> {
    assertKey(key)
    this.#assertOpen()
    const line = this.#lines.get(key) ?? this.#makeLine(key)
    if (!line.isEmpty) return undefined
    const { claim, hold } = makeClaim(line, { timeoutMs: Infinity, patience: 'asks' })
    line.join(claim)
    return hold.catch((error: unknown) => {
      if (!hasCode(error, 'LOCK_TIMEOUT')) throw error
      return undefined
    })
  }

  /**
   * Refuses claims that wait in this process and those that come later, and removes the socket.
   *
   * Release first: it waits for no holder. Other processes may take at once what is still held, as
   * they may take the locks of a dead process, and its holders get `onLost`.
   */
  close(): Promise<void> {
    return (this.#closed ??= this.#close())
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(): Promise<void> {
    await Promise.resolve() // so that `#closed` is set
    for (const line of this.#lines.values()) line.refuse(closedError())
    this.#lingering.close()

    // As long as the socket listens, nobody else touches the files that are being made or removed.
    let unheld = this.#findUnheld()
    while (unheld) {
      await unheld.served
      unheld = this.#findUnheld()
    }
    clearInterval(this.#heartbeat)
    if (this.#lines.size > 0) this.#presence.keepFile()
    for (const line of this.#lines.values()) line.lose()
    await this.#presence.close()
  }

  #findUnheld(): Line | undefined {
    return Array.from(this.#lines.values()).find((line) => !line.isHeld)
  }

  #makeLine(key: string): Line {
    const line = new Line(join(this.#directory, `${key}.lock`), {
      presence: this.#presence,
      lingering: this.#lingering,
      onOver: () => this.#lines.delete(key),
    })
    this.#lines.set(key, line)
    return line
  }

  /** By the token alone: where names ignore case, the file may be that of another key. */
  #receive(visitor: Visitor, token: string): void {
    for (const line of this.#lines.values()) if (line.receive(visitor, token)) return
    visitor.turnAway()
  }

  async #assertSymlinks(): Promise<void> {
    const path = join(this.#directory, this.#presence.name.replace('.sock', '.new'))
    await createLink(path, makeToken(this.#presence.name))
    await readLink(path)
    await removeFile(path)
  }

  /** Does not reject: it tries again a quarter of a lease later. */
  async #beat(): Promise<void> {
    await this.#presence.touch().catch(() => {})
    await this.#renewHeld()
  }

  async #renewHeld(): Promise<void> {
    for (const line of this.#lines.values()) await line.renew()
  }

  #assertOpen(): void {
    if (this.#closed) throw closedError()
  }
}

/** What was asked for, with all that has a default. */
interface ClaimOptions extends LockFilesAcquireOptions {
  readonly timeoutMs: number
  readonly patience: LocalClaim['patience']
}

/** A request for the key of a line, and the hold that it will get. */
function makeClaim(line: Line, options: ClaimOptions) {
  const { signal, timeoutMs, patience, onReleaseRequest, onLost } = options
  const granted = deferred<LockFilesHold>()
  const passedOn = deferred<void>()
  const stopWaiting = (): void => {
    clearTimeout(timer)
    signal?.removeEventListener('abort', onAbort)
  }
  const refuse = (reason: unknown): void => {
    stopWaiting()
    line.leave(claim)
    granted.reject(reason)
  }
  const onAbort = (): void => refuse(signal?.reason)
  const onTimeout = (): void => {
    refuse(new LockFilesError('LOCK_TIMEOUT', `The lock was not released within ${timeoutMs} ms`))
  }
  const release = (): Promise<void> => {
    line.release(claim)
    return passedOn.promise
  }
  const claim: LocalClaim = {
    kind: 'local',
    patience,
    grant: (tenure) => {
      stopWaiting()
      granted.resolve({ tenure, isHeld: () => line.isHeldBy(claim), release, [Symbol.asyncDispose]: release })
    },
    refuse,
    passedOn: passedOn.resolve,
    askToRelease: onReleaseRequest,
    onLost,
  }
  signal?.addEventListener('abort', onAbort)
  const timer = timeoutMs === Infinity ? undefined : setTimeout(onTimeout, timeoutMs)
  return { claim, hold: granted.promise }
}

function assertKey(key: string): void {
  if (typeof key === 'string' && KEY.test(key)) return
  throw new TypeError(`Cannot lock a key as it must match ${KEY.source}: received ${String(key)}`)
}

function closedError(): LockFilesError {
  return new LockFilesError('LOCKS_CLOSED', 'The locks are closed')
}

/** A promise that others settle. */
function deferred<T>() {
  let resolve!: (value: T) => void
  let reject!: (reason: unknown) => void
  const promise = new Promise<T>((...both) => ([resolve, reject] = both))
  return { promise, resolve, reject }
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
