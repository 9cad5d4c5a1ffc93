// SPDX-License-Identifier: MIT

/**
 * One holder a key among the processes of a host, first come first served; the dead hold nothing.
 *
 * Behind a cluster or in a rolling restart the newcomer that takes over an upload is often in
 * another process than the holder. A lock in memory does not reach that far, a lock file outlives
 * a crash, and a lock file with a time limit is either taken from the living or makes everybody
 * wait for the dead. Here the newcomer's wish is pushed to the holder, milliseconds after the
 * release it has the lock, and whoever was killed is replaced as fast.
 *
 * Design. Each process listens on a Unix socket in the directory. The kernel closes it with the
 * process, so a connection that is refused means dead: no process id to be used again, no clock.
 * A lock is a symbolic link whose target names that socket: one call creates it with its content
 * or fails as it exists, one reads it, one removes it. A newcomer connects to the holder's socket
 * and thereby stands in its line; the holder hangs up when it has let go. Within a process the
 * line passes the file on without touching the disk, and gives it up when the next is elsewhere.
 * A dead holder's link is *replaced*, by the one process that got a second link, the guard, which
 * is named after what it replaces; removed, it could be another's by the time the call arrives.
 * Files can also be removed by somebody else. A heartbeat checks those of its process and makes
 * missing ones again, under the same names. If another process has the lock by then, the holder
 * learns that. So a socket that refuses means dead, and a socket that is missing does not.
 *
 * Self-contained: this file imports `node:` builtins only.
 *
 * @module
 */

import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import {
  chmod, lstat, lutimes, mkdir, open, readdir, readFile, readlink, rename, symlink, unlink, utimes, type FileHandle,
} from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { hostname } from 'node:os'
import { join, resolve } from 'node:path'

/** A key that is held. */
export interface LockFilesHold extends AsyncDisposable {
  /**
   * Whether the key is still held. Reads its link, and makes a removed link again. False after the
   * release, after `close()`, and once another process has the key. Never rejects: if the link can
   * be neither read nor made again, the lock is lost.
   */
  isHeld(): Promise<boolean>
  /**
   * Passes the key on; resolves once the next in this process has it or its file is gone. May be
   * called twice. Never rejects: a file that cannot be removed is disowned, and whoever waits for
   * it next replaces it like a dead holder's.
   */
  release(): Promise<void>
}

/** What went wrong with a lock. Compare `code`, not the class. */
export class LockFilesError extends Error {
  override readonly name: string = 'LockFilesError'
  /**
   * `LOCK_TIMEOUT`: not handed over within `timeoutMs`. `LOCK_CORRUPT`: the lock's file is not one of ours.
   * `LOCKS_CLOSED`: after `close()`. `LOCKS_UNSUPPORTED`: the directory cannot have sockets or symbolic links.
   */
  readonly code: 'LOCK_TIMEOUT' | 'LOCK_CORRUPT' | 'LOCKS_CLOSED' | 'LOCKS_UNSUPPORTED'

  constructor(code: LockFilesError['code'], message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** Options of {@link LockFiles.open}. */
export interface LockFilesOptions {
  /**
   * How long a lock counts as held after its process was last seen, in milliseconds, if that process
   * cannot be reached: it is on another host that shares the directory, the host was restarted, or
   * its socket was removed. The same in all processes; their clocks may differ by less. A process
   * checks its own files four times per lease. 1 to 2^31-1. Default: 60000.
   */
  readonly leaseMs?: number | undefined
}

/** Options of {@link LockFiles.acquire}. */
export interface LockFilesAcquireOptions {
  /** Gives up waiting when it aborts; without effect once the lock is held. Default: none. */
  readonly signal?: AbortSignal | undefined
  /** How long to wait, in milliseconds: 0 to 2^31-1, or Infinity for no limit. Default: Infinity. */
  readonly timeoutMs?: number | undefined
  /**
   * Called at most once, if somebody waits behind, in a turn of the event loop of its own. It is
   * not called after the release. What it throws is an uncaught exception. Default: none.
   */
  readonly onReleaseRequest?: (() => void) | undefined
  /**
   * Called at most once, in the same way, when the lock is lost: another process has the key, or may
   * get it at any moment. Stop what the lock guards, then release. Default: none.
   */
  readonly onLost?: (() => void) | undefined
}

type Patience = 'wait' | 'none'

/** A request of this process. */
interface LocalClaim {
  readonly kind: 'local'
  /** Whether it waits for a holder in another process. */
  readonly patience: Patience
  /** Hands the lock over; resolves when it is released. */
  readonly grant: () => Promise<void>
  readonly refuse: (reason: unknown) => void
  /** Tells who released that the lock has gone to the next. */
  readonly passedOn: () => void
  /** Asks for the lock back; `undefined` once it has been asked. */
  askToRelease: (() => void) | undefined
  readonly onLost: (() => void) | undefined
}

/** A request of another process, which lasts as long as its connection. */
interface RemoteClaim {
  readonly kind: 'remote'
  readonly socket: Socket
}

/** Those who want one key through this process. */
interface Line {
  readonly path: string
  /** In order of arrival. */
  readonly claims: Set<LocalClaim | RemoteClaim>
  /** What others read in the file while it is ours, or may read at any moment. */
  token: string | undefined
  holder: LocalClaim | undefined
  /** The check of the holder's file that is in progress. */
  confirming: Promise<boolean> | undefined
  fetching: AbortController | undefined
  /** Resolves when the line is forgotten. */
  served: Promise<void>
}

/**
 * What connecting to a process's socket shows.
 *
 * - `alive`: it listens. It may be stopped.
 * - `forgetful`: it answers that it does not know the token.
 * - `refused`: it does not listen. On the host of that process, it is dead.
 * - `missing`: the socket has no file. The process ended cleanly, or somebody removed the file.
 * - `unreachable`: any other error, as on a file system that carries no sockets.
 */
type Presence = 'alive' | 'forgetful' | 'refused' | 'missing' | 'unreachable'

/** A place in the line of another process, if that is alive. */
interface Place {
  readonly presence: Presence
  leave(): void
}

const KEY = /^[A-Za-z0-9_-]{1,128}$/

/** `host-process.sock`; while it is made, `host-process.new`. */
const SOCKET = /^[0-9a-f]{8}-[0-9a-f]{16}\.(sock|new)$/

/**
 * `socket/unique`: the target of a lock's link. Anything else is never followed. It has 55 bytes, as ext4
 * keeps up to 59 in the inode: so it takes no block, and a full disk can still be locked and cleared.
 */
const TOKEN = /^[0-9a-f]{8}-[0-9a-f]{16}\.sock\/[0-9a-f]{24}$/

/** `key.lock`, or `key.lock.unique`: the guard of whoever replaces the token that ends in `unique`. */
const LOCK = /^[A-Za-z0-9_-]{1,128}\.lock(?:\.([0-9a-f]{24}))?$/

/** The address of a Unix socket holds 108 bytes on Linux, 104 elsewhere. */
const MAX_SOCKET_PATH_BYTES = 100

/** Above this, Node's timers fire at once instead of late. */
const MAX_TIMER_MS = 2 ** 31 - 1

/** How long one who may take the lock can keep those behind waiting, stopped by a debugger, say. */
const TURN_MS = 1000

/** The longest pause before a holder that cannot be waited for is looked at again. */
const MAX_PAUSE_MS = 1000

/**
 * Gives out one hold a key at a time, to all processes of a host that open the same directory.
 *
 * 1. A free key, or one whose holder died, is granted at once.
 * 2. Otherwise the holder's `onReleaseRequest` is called, in whichever process it is, and the
 *    newcomer stands behind those who came before it.
 * 3. `release()` grants the key to the next in line, which is asked for it at once if others wait.
 *
 * The holder decides when it lets go: nothing is taken from a live process, stopped or not. Waiting
 * is an open connection and costs nothing. Keys without claims leave no file.
 *
 * If the directory is emptied or removed while in use, each process makes its own files again within
 * a quarter of `leaseMs`, or as soon as it needs them. Until then another process may take a key
 * that is held. The first holder then gets `onLost`, and its `isHeld()` is false. If the other
 * process has released the key by then, the first holder does not notice.
 *
 * A process stands in the line of another once, for all its requests that came before somebody
 * from elsewhere stood behind them. Two cases break the order: while the file goes from one process
 * to the next, somebody may slip in; and those who waited for a process that dies start anew.
 *
 * It is not re-entrant. If the holder's process cannot be reached, as it is on another host or from
 * before a restart, it cannot be asked. Its lock is checked once a second until it is gone or
 * `leaseMs` have passed, so there the promise is only as good as the clocks.
 *
 * @example One process takes over from another
 * ```ts
 * import { LockFiles } from 'longhaul/lock-files'
 *
 * const here = await LockFiles.open('locks')
 * const there = await LockFiles.open('locks') // in life, in another process
 * const first = await here.acquire('upload-1', { onReleaseRequest: () => first.release() })
 * const second = await there.acquire('upload-1', { timeoutMs: 1000 })
 * console.log('handed over')
 * await second.release()
 * await Promise.all([here.close(), there.close()])
 * ```
 */
export class LockFiles implements AsyncDisposable {
  readonly #directory: string
  readonly #leaseMs: number
  /** Tells this host, as started this time, from others. */
  readonly #host: string
  /** The name of our socket, by which others know us. */
  readonly #name: string
  #server: Server
  /** The file of our socket, whatever its name. */
  #identity: string | undefined
  readonly #connections = new Set<Socket>()
  readonly #lines = new Map<string, Line>()
  /** The directory as the addresses of sockets begin, and what keeps that valid. */
  #reach: string
  #handle: FileHandle | undefined
  #heartbeat: NodeJS.Timeout | undefined
  /** The making again of the directory and the socket that is in progress. */
  #restoring: Promise<void> | undefined
  #closed: Promise<void> | undefined
  /** Whether links of ours may be left that could not be read or removed. */
  #leavesLinks = false
  /** Whether our socket is gone, so that files of ours are anybody's. */
  #dead = false

  private constructor(directory: string, leaseMs: number, host: string) {
    this.#directory = directory
    this.#leaseMs = leaseMs
    this.#host = host
    this.#name = `${host}-${randomBytes(8).toString('hex')}.sock`
    this.#reach = directory
    this.#server = this.#createServer()
  }

  /**
   * Makes the directory if need be, listens in it, and sweeps what the dead left behind. None of
   * this keeps the process alive; an `acquire` that waits does.
   *
   * @throws {LockFilesError} `LOCKS_UNSUPPORTED` with its `cause`, where sockets or symbolic links are not to be had;
   * {@link TypeError} if `leaseMs` is not a number, {@link RangeError} if it is out of bounds;
   * errors of the file system if the directory cannot be made.
   */
  static async open(directory: string, options: LockFilesOptions = {}): Promise<LockFiles> {
    const leaseMs = duration('leaseMs', options.leaseMs ?? 60_000, 1)
    const path = resolve(directory)
    await mkdir(path, { recursive: true, mode: 0o700 })
    const locks = new LockFiles(path, leaseMs, await thisHost())
    try {
      await locks.#listen()
      await locks.#proveLinks()
      locks.#heartbeat = setInterval(() => void locks.#lookAfterFiles(), leaseMs / 4).unref()
      await locks.#sweep()
      return locks
    } catch (cause) {
      await locks.close()
      throw new LockFilesError('LOCKS_UNSUPPORTED', `Cannot keep locks in ${path} as it must allow Unix sockets and symbolic links: ${cause}`, { cause })
    }
  }

  /**
   * Waits for the key and holds it.
   *
   * @throws {LockFilesError} `LOCK_TIMEOUT` after `timeoutMs`, `LOCK_CORRUPT`, `LOCKS_CLOSED`; the signal's reason when
   * that aborts first; {@link TypeError} if the key is not 1 to 128 of A-Z, a-z, 0-9, `_` and `-`,
   * or `timeoutMs` is not a number; {@link RangeError} if that is out of bounds; errors of the file system.
   */
  acquire(key: string, options: LockFilesAcquireOptions = {}): Promise<LockFilesHold> {
    return this.#claim(key, options, 'wait')
  }

  /**
   * Holds the key if nobody does, or only the dead; `undefined` otherwise. Asks nobody to let go.
   * On a corrupt lock and the like it rejects as `acquire` does.
   */
  async tryAcquire(key: string): Promise<LockFilesHold | undefined> {
    if (!this.#closed && this.#lines.has(key)) return undefined
    try {
      return await this.#claim(key, {}, 'none')
    } catch (error) {
      if (isCode(error, 'LOCK_TIMEOUT')) return undefined
      throw error
    }
  }

  /**
   * Rejects those who wait in this process and whoever comes later, and removes the socket.
   *
   * Release first: it waits for no holder. Others may take at once what is still held, as they may
   * take the locks of a dead process, and its holders get `onLost`.
   */
  close(): Promise<void> {
    return (this.#closed ??= this.#close())
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(): Promise<void> {
    await Promise.resolve() // so that `#closed` is set
    for (const { claims, holder } of this.#lines.values()) {
      for (const claim of claims) if (claim.kind === 'local' && claim !== holder) claim.refuse(closed())
    }
    // While the socket listens, what is being created or removed is ours alone.
    for (let line; (line = Array.from(this.#lines.values()).find(({ holder }) => !holder)); ) await line.served
    clearInterval(this.#heartbeat)
    while (this.#restoring) await this.#restoring.catch(() => {})
    this.#dead = true
    // If keys are held, or links are left, the file stays: as it refuses, others take those at once.
    if (this.#lines.size === 0 && !this.#leavesLinks) await remove(join(this.#directory, this.#name)).catch(() => {})
    this.#server.close()
    for (const line of this.#lines.values()) this.#lose(line)
    for (const socket of this.#connections) socket.destroy()
    await this.#handle?.close()
  }

  #createServer(): Server {
    return createServer((socket) => this.#welcome(socket)).unref()
  }

  async #listen(): Promise<void> {
    if (Buffer.byteLength(join(this.#directory, this.#name)) > MAX_SOCKET_PATH_BYTES) {
      if (process.platform !== 'linux') throw new Error(`Here a socket's path must have at most ${MAX_SOCKET_PATH_BYTES} bytes`)
      const before = this.#handle
      this.#handle = await open(this.#directory)
      this.#reach = `/proc/self/fd/${this.#handle.fd}`
      await before?.close()
    }
    // It gets its name when it listens: under that name, refused shall always mean dead.
    const fresh = this.#name.replace('.sock', '.new')
    await remove(join(this.#directory, fresh)) // if it came no further than that the last time
    this.#server.listen({ path: join(this.#reach, fresh), exclusive: true }) // not shared by the workers of a cluster
    await once(this.#server, 'listening')
    this.#server.on('error', () => {}) // who could not be accepted comes again
    await chmod(join(this.#directory, fresh), 0o600)
    this.#identity = await identityOf(join(this.#directory, fresh))
    await rename(join(this.#directory, fresh), join(this.#directory, this.#name))
    if ((await probe(join(this.#reach, this.#name))) !== 'alive') throw new Error('A socket cannot be reached there')
  }

  async #proveLinks(): Promise<void> {
    const path = join(this.#directory, this.#name.replace('.sock', '.new'))
    await create(path, `${this.#name}/${unique()}`)
    await read(path)
    await remove(path)
  }

  /** Makes the directory and the socket again, under the name that others know, then held locks. */
  async #restore(): Promise<void> {
    await mkdir(this.#directory, { mode: 0o700 }).catch((error) => {
      if (!isCode(error, 'EEXIST')) throw error
    })
    this.#server.close() // those who are connected stay so
    this.#server = this.#createServer()
    await this.#listen()
    void this.#confirmHeld()
  }

  async #sweep(): Promise<void> {
    const pathOf = (name: string): string => join(this.#directory, name)
    const dead = new Set<string>()
    for (const name of await readdir(this.#directory)) {
      if (!SOCKET.test(name) || name === this.#name) continue
      if (name.endsWith('.sock')) {
        if (await this.#isDead(name, await probe(join(this.#reach, name)), pathOf(name))) dead.add(name)
      } else if (await this.#isStale(pathOf(name))) await remove(pathOf(name))
    }
    // Read only now: the dead make no more of them.
    const locks = (await readdir(this.#directory)).filter((name) => LOCK.test(name))
    const targets = await Promise.all(locks.map((name) => readlink(pathOf(name)).catch(() => '')))
    // A guard whose token nobody has guards nothing.
    for (const name of locks) {
      const guarded = LOCK.exec(name)?.[1]
      if (guarded && !targets.some((target) => target.endsWith(guarded))) await remove(pathOf(name))
    }
    // A lock of the dead is taken and let go, which removes it. Their socket goes last: a missing
    // one does not mean dead.
    for (const [index, name] of locks.entries()) {
      const target = targets[index] ?? ''
      const socketName = socketOf(target)
      if (LOCK.exec(name)?.[1] || !TOKEN.test(target)) continue // `acquire` reports a corrupt one
      if (!dead.has(socketName) && (await exists(pathOf(socketName)))) continue
      await (await this.tryAcquire(name.slice(0, -'.lock'.length)))?.release()
    }
    const named = new Set(await Promise.all(locks.map((name) => readlink(pathOf(name)).then(socketOf, () => ''))))
    for (const name of dead) if (!named.has(name)) await remove(pathOf(name))
  }

  async #claim(key: string, options: LockFilesAcquireOptions, patience: Patience): Promise<LockFilesHold> {
    const { signal, onReleaseRequest, onLost } = options
    const timeoutMs = duration('timeoutMs', options.timeoutMs ?? Infinity, 0, Infinity)
    if (typeof key !== 'string' || !KEY.test(key)) {
      throw new TypeError(`Cannot lock a key as it must match ${KEY.source}: received ${String(key)}`)
    }
    signal?.throwIfAborted()
    if (this.#closed) throw closed()

    return new Promise((resolve, reject) => {
      const stopWaiting = (): void => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', onAbort)
      }
      const giveUp = (reason: unknown): void => {
        stopWaiting()
        leave(line, claim)
        reject(reason)
      }
      const onAbort = (): void => giveUp(signal?.reason)
      const onTimeout = (): void => giveUp(new LockFilesError('LOCK_TIMEOUT', `The lock was not released within ${timeoutMs} ms`))
      const released = deferred()
      const passedOn = deferred()
      const release = (): Promise<void> => {
        if (line.holder === claim) line.holder = undefined
        released.resolve()
        return passedOn.promise
      }
      const isHeld = async (): Promise<boolean> => {
        return line.holder === claim && (await this.#confirm(line)) && line.holder === claim
      }
      const claim: LocalClaim = {
        kind: 'local',
        patience,
        grant: () => {
          stopWaiting()
          resolve({ isHeld, release, [Symbol.asyncDispose]: release })
          return released.promise
        },
        refuse: giveUp,
        passedOn: passedOn.resolve,
        askToRelease: onReleaseRequest,
        onLost,
      }
      signal?.addEventListener('abort', onAbort)
      const timer = timeoutMs === Infinity ? undefined : setTimeout(onTimeout, timeoutMs)
      const line = this.#join(key, claim)
    })
  }

  #join(key: string, claim: LocalClaim): Line {
    let line = this.#lines.get(key)
    if (line) {
      line.claims.add(claim)
      askHolder(line)
      return line
    }
    const path = join(this.#directory, `${key}.lock`)
    line = {
      path, claims: new Set([claim]), served: Promise.resolve(),
      token: undefined, holder: undefined, confirming: undefined, fetching: undefined,
    }
    this.#lines.set(key, line)
    line.served = this.#serve(key, line)
    return line
  }

  async #serve(key: string, line: Line): Promise<void> {
    let passedOn: (() => void) | undefined
    for (let claim = first(line.claims); claim; claim = first(line.claims)) {
      passedOn?.()
      if (claim.kind === 'remote') {
        await giveTurn(claim.socket)
        line.claims.delete(claim)
      } else {
        try {
          if (await this.#fetch(line, claim.patience)) passedOn = await this.#grant(line)
        } catch (error) {
          claim.refuse(error)
        }
      }
    }
    this.#lines.delete(key)
    passedOn?.() // only now, or a `tryAcquire` after the release would find the line
  }

  /** Lets the local claims at the head of the line have the file in turn, then gives it up; returns whom to tell. */
  async #grant(line: Line): Promise<(() => void) | undefined> {
    let passedOn: (() => void) | undefined
    for (let claim = first(line.claims); claim?.kind === 'local' && line.token; claim = first(line.claims)) {
      passedOn?.()
      line.holder = claim
      const released = claim.grant()
      for (const behind of line.claims) if (behind.kind === 'remote') behind.socket.write('!')
      askHolder(line)
      await released
      line.claims.delete(claim)
      passedOn = claim.passedOn
    }
    await line.confirming // or it might make the file again when it is gone
    try {
      if (line.token && (await read(line.path)) === line.token) await unlink(line.path)
    } catch {
      this.#leavesLinks = true // without the token we do not know the file any more, so the next will replace it
    }
    line.token = undefined
    return passedOn
  }

  /** Whether the file of a line that is held is still ours; one that was removed is made again. */
  #confirm(line: Line): Promise<boolean> {
    return (line.confirming ??= this.#confirmOnce(line).finally(() => (line.confirming = undefined)))
  }

  async #confirmOnce(line: Line): Promise<boolean> {
    const { path, token } = line
    if (!token) return false
    try {
      const found = await read(path)
      if (found === token) return true
      if (!found) {
        await this.#touch() // our socket may be gone, too
        if (!this.#dead && !(await create(path, token))) return true
      }
    } catch {
      this.#leavesLinks = true // one that cannot be confirmed may be another's at any moment
    }
    this.#lose(line)
    return false
  }

  /** Confirms all locks that are held, and renews the times of their links. Does not reject. */
  async #confirmHeld(): Promise<void> {
    for (const line of this.#lines.values()) {
      if (!line.holder || !(await this.#confirm(line))) continue
      const now = new Date()
      await lutimes(line.path, now, now).catch(() => {})
    }
  }

  /** Gives up a lock that another process has, or may get. Its line looks for the new holder. */
  #lose(line: Line): void {
    const { holder, claims } = line
    if (!line.token) return
    line.token = undefined
    for (const claim of claims) if (claim.kind === 'remote') claim.socket.destroy()
    if (holder?.onLost) tell(line, holder, holder.onLost)
  }

  /** Gets the file for the local claims of a line; false if they left. */
  async #fetch(line: Line, patience: Patience): Promise<boolean> {
    const { signal } = (line.fetching = new AbortController())
    // Known before it is in the file: whoever reads it there may connect before we hear of it.
    const token = (line.token = `${this.#name}/${unique()}`)
    let place: Place | undefined
    let previous: string | undefined
    let inVain = 0
    let fetched = false
    try {
      await this.#touch() // proves as well that our socket is where others look for it
      while (!fetched && !signal.aborted) {
        const holder = await this.#create(line.path, token)
        if (!holder) return (fetched = true)
        inVain = holder === previous ? inVain + 1 : 0
        previous = holder

        // Those behind us in the last line wait until we have a place in the next.
        const next = await this.#visit(holder, patience, signal, () => place?.leave())
        if (next.presence === 'alive') {
          place?.leave()
          place = next
        }
        const dead = await this.#isDead(holder, next.presence, line.path)
        if (dead) fetched = await this.#replace(line, line.path, holder, token, patience)
        if (!fetched && patience === 'none') throw new LockFilesError('LOCK_TIMEOUT', 'The lock is held')
        if (!fetched && inVain > 0) await pause(Math.min(2 ** inVain, MAX_PAUSE_MS), signal)
      }
      return fetched
    } finally {
      place?.leave()
      line.fetching = undefined
      if (!fetched) line.token = undefined
    }
  }

  /**
   * Puts our token in the place of a dead one; false if somebody else does or did.
   *
   * Nobody else may do so while we have the guard, which its maker alone removes or renames while it lives and knows the token.
   * The guard holds our token, so renaming it is both the replacement and the guard's end.
   */
  async #replace(line: Line, path: string, dead: string, token: string, patience: Patience): Promise<boolean> {
    const guard = `${line.path}.${dead.slice(-24)}`
    const maker = await this.#create(guard, token)
    if (maker && !(await this.#isAbandoned(guard, maker, line, patience))) return false
    if (maker && !(await this.#replace(line, guard, maker, token, patience))) return false
    try {
      if ((await read(path)) !== dead) return false
      await rename(guard, path).catch((error) => {
        if (!isCode(error, 'ENOENT')) throw error
      })
      return (await read(path)) === token // not if somebody has removed our guard
    } finally {
      await remove(guard) // if it was renamed, a new one finds that its token is gone
    }
  }

  /** Whether a guard is nobody's any more: its maker is dead, or could not remove it. Waits for one who is at work. */
  async #isAbandoned(guard: string, maker: string, { fetching }: Line, patience: Patience): Promise<boolean> {
    const { presence, leave } = await this.#visit(maker, patience, fetching?.signal)
    leave()
    return this.#isDead(maker, presence, guard)
  }

  /** Connects to the process of a token. With patience, stands in its line until it lets go. */
  async #visit(token: string, patience: Patience, signal?: AbortSignal, onPlaced = (): void => {}): Promise<Place> {
    const path = join(this.#reach, socketOf(token))
    if (patience === 'wait' && signal) return this.#queue(path, token, signal, onPlaced)
    return { presence: await probe(path), leave: () => {} }
  }

  /**
   * Stands in the line of a token's process, which answers `!` if it has the place and `?` if it does
   * not know the token. Resolves when that process lets go, loses us or is dead.
   */
  #queue(path: string, token: string, signal: AbortSignal, onPlaced: () => void): Promise<Place> {
    return new Promise((resolve) => {
      const socket = connect({ path, allowHalfOpen: true })
      const settle = (presence: Presence): void => {
        signal.removeEventListener('abort', onAbort)
        if (presence !== 'alive') socket.destroy()
        resolve({ presence, leave: () => socket.destroy() })
      }
      const onAbort = (): void => void socket.destroy()
      signal.addEventListener('abort', onAbort)
      if (signal.aborted) onAbort()
      let answer = ''
      socket.on('data', (chunk) => {
        answer = chunk.toString('latin1')
        if (answer.startsWith('!')) onPlaced()
      })
      socket.on('end', () => settle(answer === '?' ? 'forgetful' : 'alive'))
      socket.on('error', (error) => settle(presenceOf(error)))
      socket.on('close', () => settle('alive'))
      socket.write(`${token}\n`)
    })
  }

  /** Lets another process stand in line, if we have or are about to have the token that it read. */
  #welcome(socket: Socket): void {
    socket.unref()
    this.#connections.add(socket)
    socket.on('close', () => this.#connections.delete(socket))
    socket.on('error', () => {}) // 'close' follows
    socket.once('data', (request) => {
      socket.resume()
      // By the token alone: where files differ in case only, the key of the file is not the newcomer's.
      const line = Array.from(this.#lines.values()).find(({ token }) => request.toString('latin1') === `${token}\n`)
      if (!line) return void socket.end('?')
      const claim: RemoteClaim = { kind: 'remote', socket }
      line.claims.add(claim)
      socket.on('close', () => line.claims.delete(claim))
      if (line.holder) socket.write('!') // otherwise its turn may come before it has left the line it is from
      askHolder(line)
    })
  }

  /**
   * Whether the process of a token, or of a socket, has ended or no longer knows the token. A live
   * process keeps the times of its socket recent, and those of `path`, the file that names it.
   */
  async #isDead(token: string, presence: Presence, path: string): Promise<boolean> {
    const isNear = token.startsWith(`${this.#host}-`)
    if (presence === 'forgetful') return true
    if (presence === 'missing') return this.#isStale(path)
    if (presence === 'refused' && isNear) return true
    // It may be dead, on another host, or on this one under another name. The lease covers all three.
    return presence !== 'alive' && !isNear && this.#isStale(join(this.#directory, socketOf(token)))
  }

  /** Whether a file was not touched within the lease. One that is gone is not stale: look again. */
  async #isStale(path: string): Promise<boolean> {
    try {
      const { mtimeMs } = await lstat(path)
      return Math.abs(Date.now() - mtimeMs) > this.#leaseMs // a clock that was once far ahead must not bind us
    } catch (error) {
      if (isCode(error, 'ENOENT')) return false
      throw error
    }
  }

  /** As {@link create}, in a directory that is made again if it is gone. */
  async #create(path: string, token: string): Promise<string | undefined> {
    try {
      return await create(path, token)
    } catch (error) {
      if (!isCode(error, 'ENOENT')) throw error
      await this.#touch()
      return create(path, token)
    }
  }

  /** Does not reject: it tries again a quarter of a lease later. */
  async #lookAfterFiles(): Promise<void> {
    await this.#touch().catch(() => {})
    await this.#confirmHeld()
  }

  /**
   * Shows that we are alive. Makes our socket again if it is gone, or if another file has its name: in a directory
   * that was restored from a copy, or moved away and back, there is one that refuses.
   */
  async #touch(): Promise<void> {
    const path = join(this.#directory, this.#name)
    const now = new Date()
    try {
      await utimes(path, now, now)
      if ((await identityOf(path)) === this.#identity) return
    } catch (error) {
      if (!isCode(error, 'ENOENT')) throw error
    }
    if (this.#dead) throw closed()
    await (this.#restoring ??= this.#restore().finally(() => (this.#restoring = undefined)))
  }
}

function askHolder(line: Line): void {
  const { claims, holder } = line
  const ask = holder?.askToRelease
  if (!holder || !ask || claims.size < 2) return
  holder.askToRelease = undefined
  tell(line, holder, () => {
    if (claims.size > 1) ask()
    else holder.askToRelease = ask // the newcomer has given up
  })
}

/**
 * Calls a holder back in a turn of its own: when its `acquire` has resolved, behind however many
 * `await`, and where an error that it throws reaches no one else's promise.
 */
function tell(line: Line, holder: LocalClaim, callback: () => void): void {
  setImmediate(() => {
    if (line.holder === holder) callback()
  })
}

function leave(line: Line, claim: LocalClaim): void {
  line.claims.delete(claim)
  if (!line.fetching) return
  // The file is fetched for the line, so that the next here does not lose the place.
  if (claim.patience === 'wait') for (const { kind } of line.claims) if (kind === 'local') return
  line.fetching.abort()
}

/** Hangs up, which tells the other process to try; resolves when it has the file or a place in the next line. */
function giveTurn(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.ref() // others here may wait for their turn
    const timer = setTimeout(() => socket.destroy(), TURN_MS)
    socket.once('close', () => {
      clearTimeout(timer)
      resolve()
    })
    socket.end()
  })
}

/** Creates a link; or returns the token of who has it. */
async function create(path: string, token: string): Promise<string | undefined> {
  for (;;) {
    try {
      await symlink(token, path)
      return undefined
    } catch (error) {
      if (!isCode(error, 'EEXIST')) throw error
    }
    const holder = await read(path)
    if (holder) return holder === token ? undefined : holder // ours after all: NFS may say so when it repeats a call
  }
}

/** Reads a link's token; `undefined` if there is none. */
async function read(path: string): Promise<string | undefined> {
  let token: string
  try {
    token = await readlink(path)
  } catch (cause) {
    if (isCode(cause, 'ENOENT')) return undefined
    if (isCode(cause, 'EINVAL')) throw new LockFilesError('LOCK_CORRUPT', `The lock ${path} is not a symbolic link`, { cause })
    throw cause
  }
  if (!TOKEN.test(token)) throw new LockFilesError('LOCK_CORRUPT', `The lock ${path} names no process: ${JSON.stringify(token.slice(0, 200))}`)
  return token
}

async function remove(path: string): Promise<void> {
  try {
    await unlink(path)
  } catch (error) {
    if (!isCode(error, 'ENOENT')) throw error
  }
}

/** Tells a file from others that had, or get, its name. */
async function identityOf(path: string): Promise<string> {
  const { dev, ino } = await lstat(path)
  return `${dev} ${ino}`
}

async function exists(path: string): Promise<boolean> {
  return lstat(path).then(() => true, (error) => !isCode(error, 'ENOENT'))
}

/** Connects, and waits for no answer, as a live process may be stopped. */
function probe(path: string): Promise<Presence> {
  return new Promise((resolve) => {
    const socket = connect(path)
    const settle = (presence: Presence): void => {
      socket.destroy()
      resolve(presence)
    }
    socket.on('connect', () => settle('alive'))
    socket.on('error', (error) => settle(presenceOf(error)))
  })
}

function presenceOf(error: Error): Presence {
  if (isCode(error, 'ECONNREFUSED')) return 'refused'
  if (isCode(error, 'ENOENT')) return 'missing'
  return isCode(error, 'EAGAIN') ? 'alive' : 'unreachable' // it has more newcomers than it can accept
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

/** The host as started this time: after a restart, the sockets of before cannot be told from another host's. */
async function thisHost(): Promise<string> {
  const name = await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(hostname)
  return createHash('sha256').update(name).digest('hex').slice(0, 8)
}

function socketOf(token: string): string {
  return token.split('/')[0] ?? ''
}

function unique(): string {
  return randomBytes(12).toString('hex')
}

function closed(): LockFilesError {
  return new LockFilesError('LOCKS_CLOSED', 'The locks are closed')
}

/** Not `instanceof Error`: where Jest runs this file, errors of Node are made by another `Error`. */
function isCode(error: unknown, code: string): boolean {
  return (error as { readonly code?: unknown } | null | undefined)?.code === code
}

function deferred(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = (): void => {}
  const promise = new Promise<void>((settle) => (resolve = settle))
  return { promise, resolve }
}

function first<T>(items: Set<T>): T | undefined {
  return items.values().next().value
}

/** Milliseconds that a timer can count. `never` is Infinity where there may be a never. */
function duration(name: string, value: number, leastMs: 0 | 1, never?: typeof Infinity): number {
  const what = `Cannot wait as ${name} must be`
  if (typeof value !== 'number') throw new TypeError(`${what} a number: received ${typeof value}`)
  if ((value >= leastMs && value <= MAX_TIMER_MS) || value === never) return value
  const bounds = `${leastMs} to ${MAX_TIMER_MS} milliseconds${never === undefined ? '' : ' or Infinity'}`
  throw new RangeError(`${what} ${bounds}: received ${value}`)
}
