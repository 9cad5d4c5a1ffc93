// SPDX-License-Identifier: MIT

/**
 * How one process waits for another: it visits the other's socket, and stays in its line.
 *
 * The visitor sends the token that it has read in a lock's link, and a line feed. The other
 * process answers `!` as soon as the visitor has a place in the line, or `?` if it does not know
 * the token. It hangs up when it is the visitor's turn to take the lock. The kernel closes the
 * connections of a process that dies. So a visitor that gives up or is killed leaves the line, and
 * a holder that is killed ends the wait, without a timer and without polling.
 *
 * A visitor that does not want to wait sends a `?` before the token. If the link only lingers, it
 * gets its turn like others. If the lock is held or wanted, the answer is `!`, and the visitor
 * leaves without having disturbed anybody. A process of a version that does not know this question
 * answers `?`, as does one that has just let go. So here that means "no" if the link is still there.
 *
 * Part of the folder `lock-files`, which is self-contained.
 *
 * @module
 */

import { connect, type Socket } from 'node:net'
import { hasCode } from './lock-files-error.ts'

/**
 * What connecting to the socket of a process shows.
 *
 * - `alive`: the process listens. It may be stopped.
 * - `forgetful`: it answers that it does not know the token.
 * - `refused`: nobody listens. If the socket was made on this host, its process is dead.
 * - `missing`: the socket has no file. The process ended cleanly, or somebody removed the file.
 * - `unreachable`: any other error, as on a file system that carries no sockets.
 */
export type SocketState = 'alive' | 'forgetful' | 'refused' | 'missing' | 'unreachable'

/** A visit that is over, but for the place in the line: it is kept until `leave`. */
export interface Visit {
  readonly state: SocketState
  leave(): void
}

/** How a visitor waits. */
interface VisitOptions {
  /** Ends the visit. */
  readonly signal: AbortSignal
  /** Called when the visitor has its place. */
  readonly onPlaced?: () => void
}

/** What {@link ask} shows besides: `free`, it is our turn until `leave`. */
export interface Answer {
  readonly state: SocketState | 'free'
  leave(): void
}

/** How long a visitor can delay those behind it when its turn has come, if it is stopped, say. */
const TURN_MS = 1000

/** How long a question waits for its answer. A process that is stopped gives none. */
const ANSWER_MS = 100

/** Connects, and does not wait for an answer, as a live process may be stopped. */
export function probe(path: string): Promise<SocketState> {
  return new Promise((resolve) => {
    const socket = connect(path)
    const settle = (state: SocketState): void => {
      socket.destroy()
      resolve(state)
    }
    socket.on('connect', () => settle('alive'))
    socket.on('error', (error) => settle(stateAfter(error)))
  })
}

/** Waits in a process's line until that process hangs up or dies. */
export function visit(path: string, token: string, { signal, onPlaced }: VisitOptions): Promise<Visit> {
  return new Promise((resolve) => {
    const socket = connect({ path, allowHalfOpen: true })
    const settle = (state: SocketState): void => {
      signal.removeEventListener('abort', onAbort)
      if (state !== 'alive') socket.destroy()
      resolve({ state, leave: () => socket.destroy() })
    }
    const onAbort = (): void => void socket.destroy()
    signal.addEventListener('abort', onAbort)
    if (signal.aborted) onAbort()
    let answer = ''
    socket.on('data', (chunk) => {
      answer = chunk.toString('latin1')
      if (answer.startsWith('!')) onPlaced?.()
    })
    socket.on('end', () => settle(answer === '?' ? 'forgetful' : 'alive'))
    socket.on('error', (error) => settle(stateAfter(error)))
    socket.on('close', () => settle('alive'))
    socket.write(`${token}\n`)
  })
}

/**
 * Asks a process to let go of a link that only lingers there. `alive` means that it does not: the
 * lock is held, or wanted, or the process does not answer. `forgetful` means that it knows neither
 * the token, as it has let go a moment ago, nor perhaps the question.
 */
export async function ask(path: string, token: string): Promise<Answer> {
  const controller = new AbortController()
  let state: Answer['state'] = 'free'
  const giveUp = (): void => {
    state = 'alive'
    controller.abort()
  }
  const timer = setTimeout(giveUp, ANSWER_MS)
  const visited = await visit(path, `?${token}`, { signal: controller.signal, onPlaced: giveUp })
  clearTimeout(timer)
  return visited.state === 'alive' ? { ...visited, state } : visited
}

/** Another process that visits this one. */
export class Visitor {
  readonly kind = 'remote'
  /** Whether it leaves at once if the lock is held. */
  readonly patience: 'waits' | 'asks'
  readonly #socket: Socket

  constructor(socket: Socket, patience: Visitor['patience']) {
    this.#socket = socket
    this.patience = patience
  }

  /** Confirms the visitor's place in the line. It may now leave the line that it comes from. */
  place(): void {
    this.#socket.write('!')
  }

  /** Answers that the lock is not free. */
  sendAway(): void {
    this.#socket.end('!')
  }

  /** Answers that the token is not known here. */
  turnAway(): void {
    this.#socket.end('?')
  }

  onLeave(callback: () => void): void {
    this.#socket.on('close', callback)
  }

  /** Hangs up. Resolves when the visitor has the lock or its next place, or after a second. */
  giveTurn(): Promise<void> {
    const socket = this.#socket
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

  dismiss(): void {
    this.#socket.destroy()
  }
}

/** Receives a connection. Calls back with the visitor and the token that it sent, or `''`. */
export function receiveVisitor(socket: Socket, onVisit: (visitor: Visitor, token: string) => void): void {
  socket.unref()
  socket.on('error', () => {}) // 'close' follows
  socket.once('data', (request) => {
    socket.resume()
    const [, question, token = ''] = /^(\??)(.*)\n$/.exec(request.toString('latin1')) ?? []
    onVisit(new Visitor(socket, question ? 'asks' : 'waits'), token)
  })
}

function stateAfter(error: Error): SocketState {
  if (hasCode(error, 'ECONNREFUSED')) return 'refused'
  if (hasCode(error, 'ENOENT')) return 'missing'
  // EAGAIN: more visitors come at once than the process can accept.
  return hasCode(error, 'EAGAIN') ? 'alive' : 'unreachable'
}
