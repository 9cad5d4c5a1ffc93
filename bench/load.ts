// SPDX-License-Identifier: MIT

/**
 * Small requests of eight clients at once, and what they cost the server.
 *
 * Design. Each client has uploads of its own, which it asks for in turn, so that no two requests for one upload
 * meet. At saturation a client sends its next request as soon as it has an answer: a server that is busy handles
 * several in one turn of its event loop, and shares what a turn costs. At a fixed rate it hardly ever does, as in
 * most of its life.
 *
 * @module
 */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { createUpload, doAll, headOf } from './client.ts'
import { withContenders, type Contender, type ContenderDescription } from './contender.ts'
import { KeptConnection, type Answer } from './kept-connection.ts'
import { takeTurns, type Measured, type Setting } from './row.ts'

const CLIENTS = 8
const UPLOADS_OF_A_CLIENT = 8
/** How many requests a server has answered before any is counted, so that Node has compiled what it compiles. */
const WARM_UP_REQUESTS = 3000
/** More than all that is appended to any upload. */
const ANNOUNCED_BYTES = 1_000_000_000
const KIB = 'longhaul'.repeat(128)

const TUS = { 'Tus-Resumable': '1.0.0' }
const BODY = { 'Content-Type': 'application/offset+octet-stream', 'Content-Length': String(KIB.length) }
const METADATA = { 'Upload-Metadata': 'filename aG9saWRheS5qcGc=,filetype aW1hZ2UvanBlZw==' }

/** What a request is about. */
interface Upload {
  readonly path: string
  offset: number
}

interface Client {
  /** To each process that it asks. */
  readonly connections: readonly KeptConnection[]
  readonly uploads: readonly Upload[]
  asked: number
}

/** A kind of request. */
export interface RequestKind {
  /** Its upload is one that was created before; otherwise all are sent to the same address. */
  readonly needsUpload: boolean
  readonly ask: (connection: KeptConnection, upload: Upload) => Promise<Answer>
}

export interface Load {
  readonly kind: RequestKind
  readonly amount: number
  /** Absent: as many as the server answers. */
  readonly ratePerSecond?: number | undefined
  /** Where a server is several processes: a client stays with one of them, or asks for its upload at another one each time. */
  readonly route?: 'sticky' | 'alternating' | undefined
}

/** Who is measured, under which load, and what comes out. */
export interface LoadMeasurement {
  readonly contenders: readonly ContenderDescription[]
  readonly load: Load
  readonly figureOf: (cpuMicroseconds: number) => number
}

export const KINDS = {
  options: { needsUpload: false, ask: (connection, { path }) => connection.ask(headOf('OPTIONS', path, TUS)) },
  head: { needsUpload: true, ask: (connection, { path }) => connection.ask(headOf('HEAD', path, TUS)) },
  create: {
    needsUpload: false,
    ask: (connection, { path }) =>
      connection.ask(headOf('POST', path, { ...TUS, ...METADATA, 'Upload-Length': '1000000', 'Content-Length': '0' })),
  },
  small: {
    needsUpload: false,
    ask: (connection, { path }) =>
      connection.ask(headOf('POST', path, { ...TUS, ...METADATA, ...BODY, 'Upload-Length': String(KIB.length) }), KIB),
  },
  patch: {
    needsUpload: true,
    ask: (connection, upload) => {
      const { path, offset } = upload
      upload.offset += KIB.length
      return connection.ask(headOf('PATCH', path, { ...TUS, ...BODY, 'Upload-Offset': String(offset) }), KIB)
    },
  },
} as const satisfies Readonly<Record<string, RequestKind>>

/** Has contenders take turns under a load; their figures are what `figureOf` makes of the CPU microseconds of a request. */
export function measureLoad(
  { directory, rounds, quick }: Setting,
  { contenders: descriptions, load, figureOf }: LoadMeasurement,
): Promise<Measured> {
  const amount = quick ? 160 : load.amount
  const warmUp: Load = { ...load, amount: quick ? 16 : WARM_UP_REQUESTS, ratePerSecond: undefined }
  return withContenders(descriptions, directory, async (contenders) => {
    for (const contender of contenders) await cpuOfRequests(contender, warmUp)
    return takeTurns(contenders, rounds, async (contender) => figureOf(await cpuOfRequests(contender, { ...load, amount })))
  })
}

/** Puts a load on a server, and resolves with the CPU of all its processes, in microseconds a request. */
async function cpuOfRequests(contender: Contender, load: Load): Promise<number> {
  const numbers = Array.from({ length: CLIENTS }, (_, i) => i)
  const clients = await doAll(numbers, CLIENTS, (number) => openClient(contender, number, load))
  try {
    return ((await contender.cpuSeconds(() => sendAll(contender, clients, load))) * 1e6) / load.amount
  } finally {
    for (const { connections } of clients) for (const connection of connections) connection.close()
    contender.clear()
  }
}

async function openClient(contender: Contender, number: number, { kind, route = 'sticky' }: Load): Promise<Client> {
  const { ports } = contender
  const asked = route === 'sticky' ? [ports[number % ports.length] as number] : ports
  const names = kind.needsUpload ? Array.from({ length: UPLOADS_OF_A_CLIENT }, (_, i) => `${number}-${i}`) : []
  const paths = await doAll(names, 1, (name) => prepareUpload(contender, name, asked))
  return {
    connections: await doAll(asked, 1, (port) => KeptConnection.open(port)),
    uploads: (kind.needsUpload ? paths : ['/files/']).map((path) => ({ path, offset: 0 })),
    asked: 0,
  }
}

/** Creates an upload at the last process, as the next request for it goes to the first. A bare handler has files instead. */
async function prepareUpload(contender: Contender, name: string, ports: readonly number[]): Promise<string> {
  if (!contender.name.startsWith('bare')) return createUpload({ port: ports.at(-1) as number }, ANNOUNCED_BYTES)
  writeFileSync(join(contender.directory, name), '')
  return `/files/${name}`
}

async function sendAll({ name }: Contender, clients: readonly Client[], { kind, amount, ratePerSecond }: Load): Promise<void> {
  const startMs = performance.now()
  let sent = 0
  await doAll(clients, clients.length, async (client) => {
    while (sent < amount) {
      const dueMs = ratePerSecond === undefined ? 0 : startMs + (sent * 1000) / ratePerSecond
      sent++
      const waitMs = dueMs - performance.now()
      if (waitMs > 0) await delay(waitMs)
      const { status, head } = await askNext(client, kind)
      if (status < 200 || status > 204) throw new Error(`${name} answered: ${head}`)
    }
  })
}

function askNext(client: Client, { ask }: RequestKind): Promise<Answer> {
  const { connections, uploads } = client
  const { upload, connection } = turnOf(client.asked++, uploads.length, connections.length)
  return ask(connections[connection] as KeptConnection, uploads[upload] as Upload)
}

/** Which upload a client asks for, and over which connection: all uploads take turns, and each comes to another connection each time. */
export function turnOf(asked: number, uploads: number, connections: number): { readonly upload: number; readonly connection: number } {
  return { upload: asked % uploads, connection: Math.floor(asked / uploads) % connections }
}
