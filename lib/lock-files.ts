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
 *
 * Self-contained: this file imports `node:` builtins only.
 *
 * @module
 */

import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chmod, lstat, mkdir, open, readdir, readFile, readlink, rename, symlink, unlink, utimes, type FileHandle } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { hostname } from 'node:os'
import { join, resolve } from 'node:path'

/** A key that is held. */
export interface LockFilesHold extends AsyncDisposable {
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
   * For a directory that several hosts share, or that outlived a restart of the host: for how long,
   * in milliseconds, a lock from there counts as held after its process was last seen alive. The
   * same in all processes; their clocks may differ by less. 1 to 2^31-1. Default: 60000.
   */
  readonly leaseMs?: number | undefined
}

/** Options of {@link LockFiles.acquire}. */
export interface LockFilesAcquireOptions {
  /** Gives up waiting when it aborts; without effect once the lock is held. Default: none. */
  readonly signal?: AbortSignal | undefined
  /** How long to wait, in milliseconds, at most 2^31-1. Default: without limit. */
  readonly timeoutMs?: number | undefined
  /** Called once, right after the lock is granted at the latest, if somebody waits behind. Must not throw. Default: none. */
  readonly onReleaseRequest?: (() => void) | undefined
}

/** A request of this process. */
interface LocalClaim {
  readonly kind: 'local'
  /** Whether it waits for a holder in another process. */
  readonly patience: 'wait' | 'none'
  /** Hands the lock over; resolves when it is released. */
  readonly grant: () => Promise<void>
  readonly refuse: (reason: unknown) => void
  /** Tells who released that the lock has gone to the next. */
  readonly passedOn: () => void
  /** Asks for the lock back; `undefined` once it has been asked. */
  askToRelease: (() => void) | undefined
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
  fetching: AbortController | undefined
  /** Resolves when the line is forgotten. */
  served: Promise<void>
}

/** A place in the line of another process. */
interface Place {
  /** Whether there is no such line: its process is dead, or does not know the token. */
  readonly dead: boolean
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
 * A process stands in the line of another once, for all its requests that came before somebody
 * from elsewhere stood behind them. Two cases break the order: while the file goes from one process
 * to the next, somebody may slip in; and those who waited for a process that dies start anew.
 *
 * It is not re-entrant, and the directory must not be emptied while in use. A lock from another
 * host, or from before a restart, cannot be asked for: it is looked at once a second until it is
 * gone or `leaseMs` have passed, so there the promise is only as good as the clocks.
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
  readonly #server: Server
  readonly #connections = new Set<Socket>()
  readonly #lines = new Map<string, Line>()
  /** The directory as the addresses of sockets begin, and what keeps that valid. */
  #reach: string
  #handle: FileHandle | undefined
  #heartbeat: NodeJS.Timeout | undefined
  #closed: Promise<void> | undefined
  /** Whether our socket is gone, so that files of ours are anybody's. */
  #dead = false

  private constructor(directory: string, leaseMs: number, host: string) {
    this.#directory = directory
    this.#leaseMs = leaseMs
    this.#host = host
    this.#name = `${host}-${randomBytes(8).toString('hex')}.sock`
    this.#reach = directory
    this.#server = createServer((socket) => this.#welcome(socket))
  }

  /**
   * Makes the directory if need be, listens in it, and sweeps what the dead left behind. None of
   * this keeps the process alive; an `acquire` that waits does.
   *
   * @throws {LockFilesError} `LOCKS_UNSUPPORTED` with its `cause`, where sockets or symbolic links are not to be had;
   * {@link RangeError} if `leaseMs` is not 1 to 2^31-1; errors of the file system if the directory cannot be made.
   */
  static async open(directory: string, options: LockFilesOptions = {}): Promise<LockFiles> {
    const { leaseMs = 60_000 } = options
    if (!(leaseMs >= 1 && leaseMs <= MAX_TIMER_MS)) {
      throw new RangeError(`Cannot open locks as leaseMs must be 1 to ${MAX_TIMER_MS}: received ${leaseMs}`)
    }
    const path = resolve(directory)
    await mkdir(path, { recursive: true, mode: 0o700 })
    const locks = new LockFiles(path, leaseMs, await thisHost())
    try {
      await locks.#listen()
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
   * that aborts first; {@link TypeError} if the key is not 1 to 128 of A-Z, a-z, 0-9, `_` and `-`; errors of the file system.
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
   * Release first: it waits for no holder, and what is held from here on counts as a dead process's.
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
    this.#dead = true
    clearInterval(this.#heartbeat)
    await remove(join(this.#directory, this.#name)).catch(() => {}) // it refuses from now on, which is as good
    this.#server.close()
    for (const socket of this.#connections) socket.destroy()
    await this.#handle?.close()
  }

  async #listen(): Promise<void> {
    if (Buffer.byteLength(join(this.#directory, this.#name)) > MAX_SOCKET_PATH_BYTES) {
      if (process.platform !== 'linux') throw new Error(`Here a socket's path must have at most ${MAX_SOCKET_PATH_BYTES} bytes`)
      this.#handle = await open(this.#directory)
      this.#reach = `/proc/self/fd/${this.#handle.fd}`
    }
    // It gets its name when it listens: under that name, refused shall always mean dead.
    const fresh = this.#name.replace('.sock', '.new')
    this.#server.listen({ path: join(this.#reach, fresh), exclusive: true }) // not shared by the workers of a cluster
    await once(this.#server, 'listening')
    this.#server.on('error', () => {}) // who could not be accepted comes again
    this.#server.unref()
    await chmod(join(this.#directory, fresh), 0o600)
    await rename(join(this.#directory, fresh), join(this.#directory, this.#name))
    if (await isRefused(join(this.#reach, this.#name))) throw new Error('A socket cannot be reached there')

    await create(join(this.#directory, fresh), `${this.#name}/${unique()}`)
    await read(join(this.#directory, fresh))
    await remove(join(this.#directory, fresh))
    this.#heartbeat = setInterval(() => void this.#touch().catch(() => {}), this.#leaseMs / 4).unref()
  }

  async #sweep(): Promise<void> {
    const names = await readdir(this.#directory)
    const pathOf = (name: string): string => join(this.#directory, name)
    for (const name of names.filter((each) => SOCKET.test(each) && each !== this.#name)) {
      const dead = name.endsWith('.new') ? await this.#isStale(name) : await this.#isDead(name)
      if (dead) await remove(pathOf(name))
    }
    // A token never comes back, so a guard whose token nobody has any more guards nothing.
    const locks = names.filter((name) => LOCK.test(name))
    const targets = await Promise.all(locks.map((name) => readlink(pathOf(name)).catch(() => '')))
    for (const name of locks) {
      const guarded = LOCK.exec(name)?.[1]
      if (guarded && !targets.some((target) => target.endsWith(guarded))) await remove(pathOf(name))
    }
    // A lock of the dead is taken and let go, which removes it.
    const alive = new Map<string, boolean>()
    for (const [index, name] of locks.entries()) {
      const [socketName = ''] = targets[index]?.split('/') ?? []
      if (LOCK.exec(name)?.[1] || !TOKEN.test(targets[index] ?? '')) continue // what is corrupt is told to whoever wants it
      if (!alive.has(socketName)) alive.set(socketName, !(await this.#isDead(socketName)))
      if (!alive.get(socketName)) await (await this.tryAcquire(name.slice(0, -'.lock'.length)))?.release()
    }
  }

  #claim(key: string, options: LockFilesAcquireOptions, patience: LocalClaim['patience']): Promise<LockFilesHold> {
    const { signal, timeoutMs, onReleaseRequest } = options
    if (typeof key !== 'string' || !KEY.test(key)) {
      return Promise.reject(new TypeError(`Cannot lock a key as it must match ${KEY.source}: received ${String(key)}`))
    }
    if (signal?.aborted) return Promise.reject(signal.reason)
    if (this.#closed) return Promise.reject(closed())

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
      const claim: LocalClaim = {
        kind: 'local',
        patience,
        grant: () => {
          stopWaiting()
          resolve({ release, [Symbol.asyncDispose]: release })
          return released.promise
        },
        refuse: giveUp,
        passedOn: passedOn.resolve,
        askToRelease: onReleaseRequest,
      }
      const timer = timeoutMs === undefined ? undefined : setTimeout(onTimeout, timeoutMs)
      signal?.addEventListener('abort', onAbort)
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
    line = { path, claims: new Set([claim]), token: undefined, holder: undefined, fetching: undefined, served: Promise.resolve() }
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
    for (let claim = first(line.claims); claim?.kind === 'local'; claim = first(line.claims)) {
      passedOn?.()
      line.holder = claim
      const released = claim.grant()
      for (const behind of line.claims) if (behind.kind === 'remote') behind.socket.write('!')
      queueMicrotask(() => askHolder(line)) // when its caller has the hold in hand
      await released
      line.claims.delete(claim)
      passedOn = claim.passedOn
    }
    try {
      if (!this.#dead && (await read(line.path)) === line.token) await unlink(line.path)
    } catch {
      // Without the token we do not know the file any more, so the next will replace it.
    }
    line.token = undefined
    return passedOn
  }

  /** Gets the file for the local claims of a line; false if they left. */
  async #fetch(line: Line, patience: LocalClaim['patience']): Promise<boolean> {
    const { signal } = (line.fetching = new AbortController())
    // Known before it is in the file: whoever reads it there may connect before we hear of it.
    const token = (line.token = `${this.#name}/${unique()}`)
    let place: Place | undefined
    let previous: string | undefined
    let inVain = 0
    let dead = false
    let fetched = false
    try {
      await this.#touch() // proves as well that our socket is where others look for it
      while (!fetched && !signal.aborted) {
        const holder = await create(line.path, token)
        if (!holder) return (fetched = true)
        inVain = holder === previous ? inVain + 1 : 0
        previous = holder

        const [socketName = ''] = holder.split('/')
        if (patience === 'wait' && this.#isNear(socketName)) {
          // Those behind us in the last line wait until we have a place in the next.
          const next = await this.#queue(socketName, holder, signal, () => place?.leave())
          dead = next.dead
          if (!dead) {
            place?.leave()
            place = next
          }
        } else dead = await this.#isDead(socketName)
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
  async #replace(line: Line, path: string, dead: string, token: string, patience: LocalClaim['patience']): Promise<boolean> {
    const guard = `${line.path}.${dead.slice(-24)}`
    const maker = await create(guard, token)
    if (maker && !((await this.#isAbandoned(maker, line, patience)) && (await this.#replace(line, guard, maker, token, patience)))) return false
    try {
      if ((await read(path)) !== dead) return false
      await rename(guard, path)
      return true
    } finally {
      await remove(guard) // if it was renamed, a new one finds that its token is gone
    }
  }

  /** Whether a guard is nobody's any more: its maker is dead, or could not remove it. Waits for one who is at work. */
  async #isAbandoned(token: string, { fetching }: Line, patience: LocalClaim['patience']): Promise<boolean> {
    const [socketName = ''] = token.split('/')
    if (patience === 'none' || !fetching || !this.#isNear(socketName)) return this.#isDead(socketName)
    const { dead, leave } = await this.#queue(socketName, token, fetching.signal, () => {})
    leave()
    return dead
  }

  /**
   * Stands in the line of a token's process, which answers `!` if it has the place and `?` if it does
   * not know the token. Resolves when that process lets go, loses us or is dead.
   */
  #queue(socketName: string, token: string, signal: AbortSignal, onPlaced: () => void): Promise<Place> {
    return new Promise((resolve) => {
      const socket = connect({ path: join(this.#reach, socketName), allowHalfOpen: true })
      const settle = (dead: boolean): void => {
        signal.removeEventListener('abort', onAbort)
        if (dead) socket.destroy()
        resolve({ dead, leave: () => socket.destroy() })
      }
      const onAbort = (): void => void socket.destroy()
      signal.addEventListener('abort', onAbort)
      if (signal.aborted) onAbort()
      let answer = ''
      socket.on('data', (chunk) => {
        answer = chunk.toString('latin1')
        if (answer.startsWith('!')) onPlaced()
      })
      socket.on('end', () => settle(answer === '?'))
      socket.on('error', (error) => settle(meansRefused(error)))
      socket.on('close', () => settle(false))
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

  #isNear(socketName: string): boolean {
    return socketName.startsWith(`${this.#host}-`)
  }

  /** Whether a process has ended. Nothing is asked of it: a live one may be stopped. */
  #isDead(socketName: string): Promise<boolean> {
    return this.#isNear(socketName) ? isRefused(join(this.#reach, socketName)) : this.#isStale(socketName)
  }

  async #isStale(socketName: string): Promise<boolean> {
    try {
      const { mtimeMs } = await lstat(join(this.#directory, socketName))
      return Math.abs(Date.now() - mtimeMs) > this.#leaseMs // a clock that was once far ahead must not bind us
    } catch (error) {
      if (isCode(error, 'ENOENT')) return true
      throw error
    }
  }

  #touch(): Promise<void> {
    const now = new Date()
    return utimes(join(this.#directory, this.#name), now, now)
  }
}

function askHolder({ claims, holder }: Line): void {
  const ask = holder?.askToRelease
  if (!holder || !ask || claims.size < 2) return
  holder.askToRelease = undefined
  ask()
}

function leave(line: Line, claim: LocalClaim): void {
  line.claims.delete(claim)
  // The file is fetched for the line, so that the next here does not lose the place.
  const wanted = claim.patience === 'wait' && Array.from(line.claims).some(({ kind }) => kind === 'local')
  if (!wanted) line.fetching?.abort()
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

function isRefused(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path)
    const settle = (refused: boolean): void => {
      socket.destroy()
      resolve(refused)
    }
    socket.on('connect', () => settle(false))
    socket.on('error', (error) => settle(meansRefused(error)))
  })
}

/** Nothing else means dead: with EAGAIN, say, the process has only more newcomers than it can accept. */
function meansRefused(error: Error): boolean {
  return isCode(error, 'ECONNREFUSED') || isCode(error, 'ENOENT')
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

function unique(): string {
  return randomBytes(12).toString('hex')
}

function closed(): LockFilesError {
  return new LockFilesError('LOCKS_CLOSED', 'The locks are closed')
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}

function deferred(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = (): void => {}
  const promise = new Promise<void>((settle) => (resolve = settle))
  return { promise, resolve }
}

function first<T>(items: Set<T>): T | undefined {
  return items.values().next().value
}
