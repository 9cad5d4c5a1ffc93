// SPDX-License-Identifier: MIT

/**
 * Who lives: the socket of this process, and what those of others show.
 *
 * Each process listens on a Unix socket in the directory. The kernel closes the socket with the
 * process, so on one host a refused connection means that the process is dead. Process ids were
 * rejected, as they are used again, and so were time limits, as they take locks from processes
 * that are only slow.
 *
 * Somebody else can remove files. A process whose socket is gone makes it again under the same
 * name. So a socket that is missing does not mean that its process is dead. Then the lease decides:
 * a live process keeps the times of its socket and of its links recent. The lease also decides on
 * processes that may be on another host, as sockets from before a restart of this one look.
 *
 * Part of the folder `lock-files`, which is self-contained.
 *
 * @module
 */

import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chmod, lstat, mkdir, open, readFile, rename, utimes, type FileHandle } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { hasCode, LockFilesError } from './lock-files-error.ts'
import { removeFile, socketOf } from './lock-link.ts'
import { probe, receiveVisitor, type SocketState, type Visitor } from './visit.ts'

/** `host-process.sock`; while it is made, `host-process.new`. */
export const SOCKET: RegExp = /^[0-9a-f]{8}-[0-9a-f]{16}\.(sock|new)$/

/** How long the files of a live process are believed to be as it last saw them, at most. */
const MAX_TRUST_MS = 1000

/** The address of a Unix socket holds 108 bytes on Linux, 104 elsewhere. */
const MAX_SOCKET_PATH_BYTES = 100

/** Where a process is present, and what to call when others visit. */
interface PresenceOptions {
  readonly directory: string
  readonly leaseMs: number
  /** Tells this host, as started this time, from others. */
  readonly host: string
  readonly onVisit: (visitor: Visitor, token: string) => void
  /** Called when the socket was made again, as other files may be gone, too. */
  readonly onRestored: () => void
}

/** This process in the directory. */
export class Presence {
  /** The name of our socket, by which others know us. */
  readonly name: string
  /**
   * How long we may believe that our files are as we last saw them, in milliseconds. Before others
   * may count us as dead, four of these times have passed.
   */
  readonly trustMs: number
  readonly #options: PresenceOptions
  #server: Server
  /** The file of our socket, whatever its name. */
  #identity: string | undefined
  #touchedMs = -Infinity
  readonly #connections = new Set<Socket>()
  /** The directory as the addresses of sockets begin, and what keeps that valid. */
  #reach: string
  #handle: FileHandle | undefined
  /** The making again of the directory and the socket that is in progress. */
  #restoring: Promise<void> | undefined
  #keepsFile = false
  /** Whether we no longer listen, so that our files are anybody's. */
  #ended = false

  constructor(options: PresenceOptions) {
    this.#options = options
    this.trustMs = Math.min(MAX_TRUST_MS, options.leaseMs / 4)
    this.name = `${options.host}-${randomBytes(8).toString('hex')}.sock`
    this.#reach = options.directory
    this.#server = this.#createServer()
  }

  /** Begins to listen. It does not keep the process alive. */
  async listen(): Promise<void> {
    const path = this.#pathOf(this.name)
    // The socket gets its name when it listens: under that name, refused shall always mean dead.
    const fresh = this.#pathOf(this.name.replace('.sock', '.new'))
    if (Buffer.byteLength(path) > MAX_SOCKET_PATH_BYTES) await this.#shortenReach()
    await removeFile(fresh) // if it came no further than that the last time
    // Exclusive: not shared by the workers of a cluster.
    this.#server.listen({ path: join(this.#reach, this.name.replace('.sock', '.new')), exclusive: true })
    await once(this.#server, 'listening')
    this.#server.on('error', () => {}) // a visitor that could not be accepted comes again
    await chmod(fresh, 0o600)
    this.#identity = await identityOf(fresh)
    await rename(fresh, path)
    if ((await probe(this.addressOf(this.name))) !== 'alive') throw new Error('A socket cannot be reached there')
  }

  /**
   * Shows that we live, by the times of our socket. Makes the socket again if it is gone, or if
   * another file has its name: in a directory that was restored from a copy, or moved away and
   * back, there is one that refuses.
   */
  async touch(): Promise<void> {
    const path = this.#pathOf(this.name)
    const now = new Date()
    const beforeMs = performance.now()
    try {
      await utimes(path, now, now)
      if ((await identityOf(path)) === this.#identity) return void (this.#touchedMs = beforeMs)
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw error
    }
    if (this.#ended) throw new LockFilesError('LOCKS_CLOSED', 'The locks are closed')
    await (this.#restoring ??= this.#restore().finally(() => (this.#restoring = undefined)))
  }

  /** As {@link touch}, unless that was done a moment ago. */
  async touchNowAndThen(): Promise<void> {
    if (performance.now() - this.#touchedMs > this.trustMs) await this.touch()
  }

  /** Where the process of a token, or of a socket, listens. */
  addressOf(token: string): string {
    return join(this.#reach, socketOf(token))
  }

  /**
   * Whether a process has ended, or no longer knows its token. `path` is the file that names it, as
   * token or as socket. `seen` is what a visit has shown; without it, the process is probed.
   */
  async isDead(token: string, path: string, seen?: SocketState): Promise<boolean> {
    const state = seen ?? (await probe(this.addressOf(token)))
    const isNear = token.startsWith(`${this.#options.host}-`)
    if (state === 'forgetful') return true
    if (state === 'missing') return this.isStale(path)
    if (state === 'refused' && isNear) return true
    // It is dead, on another host, or on this one under another name. The lease covers all three.
    return state !== 'alive' && !isNear && this.isStale(this.#pathOf(socketOf(token)))
  }

  /** Whether a file was not touched within the lease. One that is gone is not stale: look again. */
  async isStale(path: string): Promise<boolean> {
    try {
      const { mtimeMs } = await lstat(path)
      // In both directions: a clock that was once far ahead must not bind us.
      return Math.abs(Date.now() - mtimeMs) > this.#options.leaseMs
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return false
      throw error
    }
  }

  /**
   * Has the socket's file stay after {@link close}, as there may be links that name it. As it
   * refuses, others take those at once.
   */
  keepFile(): void {
    this.#keepsFile = true
  }

  /** Stops listening, and ends all visits to us. From now on our files are anybody's. */
  async close(): Promise<void> {
    while (this.#restoring) await this.#restoring.catch(() => {})
    this.#ended = true
    if (!this.#keepsFile) await removeFile(this.#pathOf(this.name)).catch(() => {})
    this.#server.close()
    for (const socket of this.#connections) socket.destroy()
    await this.#handle?.close()
  }

  #createServer(): Server {
    return createServer((socket) => {
      this.#connections.add(socket)
      socket.on('close', () => this.#connections.delete(socket))
      receiveVisitor(socket, this.#options.onVisit)
    }).unref()
  }

  /** Makes the directory and the socket again, under the name that others know. */
  async #restore(): Promise<void> {
    await mkdir(this.#options.directory, { mode: 0o700 }).catch((error: unknown) => {
      if (!hasCode(error, 'EEXIST')) throw error
    })
    this.#server.close() // those who are connected stay so
    this.#server = this.#createServer()
    await this.listen()
    this.#options.onRestored()
  }

  /** On Linux, a directory with a long path can be reached through a handle. */
  async #shortenReach(): Promise<void> {
    if (process.platform !== 'linux') {
      throw new Error(`Here a socket's path must have at most ${MAX_SOCKET_PATH_BYTES} bytes`)
    }
    const before = this.#handle
    this.#handle = await open(this.#options.directory)
    this.#reach = `/proc/self/fd/${this.#handle.fd}`
    await before?.close()
  }

  #pathOf(name: string): string {
    return join(this.#options.directory, name)
  }
}

/** This host, as started this time. After a restart, sockets of before look like another host's. */
export async function thisHost(): Promise<string> {
  const name = await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(hostname)
  return createHash('sha256').update(name).digest('hex').slice(0, 8)
}

/** Tells a file from others that had its name, or will have it. */
async function identityOf(path: string): Promise<string> {
  const { dev, ino } = await lstat(path)
  return `${dev} ${ino}`
}
