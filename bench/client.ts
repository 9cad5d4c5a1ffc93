// SPDX-License-Identifier: MIT

/**
 * Clients that cost as little as may be: the machine's other core is theirs.
 *
 * @module
 */

import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { connect, type Socket } from 'node:net'
import type { Contender } from './contender.ts'
import { KeptConnection, type Answer } from './kept-connection.ts'

const TUS = { 'Tus-Resumable': '1.0.0' }
const APPEND = { ...TUS, 'Content-Type': 'application/offset+octet-stream' }
/** For small requests: enough to keep a server busy. */
const CONNECTIONS = 16
/** What all bodies consist of, again and again. */
export const CHUNK = Buffer.alloc(1024 * 1024, 'longhaul')

/** Creates an upload and resolves with its path. */
export async function createUpload({ port }: Pick<Contender, 'port'>, length: number): Promise<string> {
  const { status, head } = await exchange(
    port,
    headOf('POST', '/files/', { ...TUS, 'Upload-Length': String(length), 'Content-Length': '0' }),
  )
  const location = /^location: (.*)$/im.exec(head)?.[1]?.trim()
  if (status !== 201 || location === undefined) throw new Error(`An upload could not be created: ${head}`)
  return location.replace(/^(https?:)?\/\/[^/]+/, '')
}

/** Asks what the server offers: the least that any server can answer. */
export async function askOptions({ port, name }: Contender): Promise<void> {
  const { status, head } = await exchange(port, headOf('OPTIONS', '/files/', {}))
  if (status !== 200 && status !== 204) throw new Error(`${name} does not tell what it offers: ${head}`)
}

/** Where the server says that an upload is. */
export async function offsetOf({ port, name }: Contender, path: string): Promise<number> {
  const { status, head } = await exchange(port, headOf('HEAD', path, TUS))
  const offset = /^upload-offset: (\d+)\r?$/im.exec(head)?.[1]
  if (status !== 200 || offset === undefined) throw new Error(`${name} does not tell where an upload is: ${head}`)
  return Number(offset)
}

/** Appends so many bytes to an upload, or sends them to a server that does not mind. */
export async function sendBody(
  { port, name }: Contender,
  path: string,
  length: number,
  headers: Readonly<Record<string, string>> = {},
): Promise<void> {
  const { status, head: answer } = await exchange(port, patchHead(path, length, headers), length)
  if (status !== 204) throw new Error(`${name} did not take ${length} bytes: ${answer}`)
}

/** The same request again and again over kept connections, so many at once; a path that is a function may be another each time. */
export async function repeat(
  { port, name }: Contender,
  amount: number,
  method: string,
  path: string | (() => string),
  headers: Readonly<Record<string, string>>,
  body?: Buffer,
): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS })
  const ask = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const req = request(
        {
          agent,
          port,
          host: '127.0.0.1',
          method,
          path: typeof path === 'string' ? path : path(),
          headers: { ...headers, 'Content-Length': body?.length ?? 0 },
        },
        (res) => {
          if (res.statusCode === undefined || res.statusCode > 204) {
            reject(new Error(`${name} answered ${res.statusCode} to ${method} ${req.path}`))
          }
          res.resume().on('end', resolve).on('error', reject)
        },
      )
      req.on('error', reject).end(body)
    })
  try {
    await doAll(Array.from({ length: amount }), CONNECTIONS, ask)
  } finally {
    agent.destroy()
  }
}

/** The same for HEAD, of one path after the other, over connections that are kept. */
export async function repeatHead({ port, name }: Contender, amount: number, paths: readonly string[]): Promise<void> {
  let asked = 0
  const askOn = async (): Promise<void> => {
    const connection = await KeptConnection.open(port)
    try {
      while (asked < amount) {
        const { status, head } = await connection.ask(headOf('HEAD', paths[asked++ % paths.length] as string, TUS))
        if (status > 204) throw new Error(`${name} answered to HEAD: ${head}`)
      }
    } finally {
      connection.close()
    }
  }
  await Promise.all(Array.from({ length: CONNECTIONS }, askOn))
}

/** Does the work for each item, for so many of them at once. Resolves with the results, in the order of the items. */
export async function doAll<T, R>(items: readonly T[], atOnce: number, work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = []
  const entries = items.entries() // one iterator for all, so that each item is taken once
  const workOn = async (): Promise<void> => {
    for (const [i, item] of entries) results[i] = await work(item)
  }
  await Promise.all(Array.from({ length: atOnce }, workOn))
  return results
}

/** The head of a PATCH that appends to an empty upload, if `headers` do not say otherwise. */
export function patchHead(path: string, length: number, headers: Readonly<Record<string, string>> = {}): string {
  return headOf('PATCH', path, { ...APPEND, 'Upload-Offset': '0', 'Content-Length': String(length), ...headers })
}

/** The head of a request. */
export function headOf(method: string, path: string, headers: Readonly<Record<string, string>>): string {
  const lines = Object.entries({ Host: 'localhost', ...headers }).map(([name, value]) => `${name}: ${value}`)
  return `${method} ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`
}

/** Sends a head and as much of a body as `length` says, and resolves with the answer. */
async function exchange(port: number, head: string, length = 0): Promise<Answer> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  try {
    const answered = readAnswer(socket)
    socket.write(head, 'latin1')
    await Promise.race([sendBytes(socket, length), answered])
    return await answered
  } finally {
    socket.destroy()
  }
}

/** Writes so many bytes, as fast as they are taken. */
async function sendBytes(socket: Socket, length: number): Promise<void> {
  for (let left = length; left > 0; left -= CHUNK.length) {
    if (!socket.write(left >= CHUNK.length ? CHUNK : CHUNK.subarray(0, left))) await once(socket, 'drain')
  }
}

/** The head of the next answer. */
export function readAnswer(socket: Socket): Promise<Answer> {
  return new Promise((resolve, reject) => {
    let text = ''
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1')
      const end = text.indexOf('\r\n\r\n')
      if (end >= 0) resolve({ status: Number(text.slice(9, 12)), head: text.slice(0, end) })
    })
    socket.on('error', reject)
    socket.on('close', () => reject(new Error(`The connection was closed without an answer: ${text}`)))
  })
}
