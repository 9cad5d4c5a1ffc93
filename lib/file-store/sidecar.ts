// SPDX-License-Identifier: MIT

/**
 * What a sidecar says, in each of the dialects that are read here.
 *
 * - Ours: the keys of tusd's filestore, and all that tusd does not know under `Longhaul`, which
 *   tusd ignores. `Longhaul.version` is 2.
 * - Ours of version 1, which had two marks: `verifiedOffset`, behind which nothing counted, and
 *   `flushed`, behind which nothing counted after another boot. It is read as version 2.
 * - That of tusd, which is ours without `Longhaul`.
 * - That of @tus/file-store, which has names of its own.
 *
 * Text from the disk is untrusted: whatever is not exactly as expected is damaged. Only a later
 * version of ours is recognised, so that it can be refused and left as it is.
 *
 * Nothing here touches the disk.
 *
 * @module
 */

import { validateHeaderName, validateHeaderValue } from 'node:http'
import type {
  NewStoredUpload, StoredCompletion, StoredDigest, StoredMark, StoredOutcome, StoredUpload, StoredUploadState,
} from './stored-upload.ts'

/** The version that is written here. */
export const VERSION = 2

/** The keys of tusd, then ours under one name. */
export interface Sidecar {
  readonly ID: string
  readonly Size: number
  readonly SizeIsDeferred: boolean
  readonly Offset: number
  readonly MetaData: Readonly<Record<string, string>>
  readonly IsPartial: boolean
  readonly IsFinal: boolean
  readonly PartialUploads: readonly string[] | null
  readonly Storage: Readonly<Record<string, unknown>>
  readonly Longhaul?: LonghaulSidecar | undefined
}

export interface LonghaulSidecar {
  readonly version: typeof VERSION
  readonly state: StoredUploadState
  readonly createdAt: string
  readonly encodedMetadata?: string | undefined
  readonly encodedParts?: string | undefined
  readonly maxSize?: number | undefined
  readonly completion?: StoredCompletion | undefined
  readonly digest?: StoredDigest | undefined
  readonly mark?: StoredMark | undefined
  readonly outcome?: StoredOutcome | undefined
  /** Counts only when the data file is gone. */
  readonly movedAt?: string | undefined
}

/** A sidecar that a later version of this store wrote. */
export interface LaterSidecar {
  readonly laterVersion: number
}

/** What the file system says of the data. */
export interface DataFile {
  /** Bytes of it that may count. */
  readonly size: number
  readonly createdAt: Date
  readonly updatedAt: Date
}

const ID_PATTERN = /^[A-Za-z0-9_-]{1,128}$/
const RANDOM_ID = /^[0-9a-f]{32}$/
const STATES: readonly unknown[] = ['receiving', 'finishing', 'finished', 'rejected', 'deactivated']
const COMPLETIONS: readonly unknown[] = [undefined, 'at-length', 'explicit']

/** @throws {TypeError} for an id that must not name a file. */
export function assertId(id: string): void {
  if (ID_PATTERN.test(id)) return
  throw new TypeError(`Cannot name an upload as its id must match ${ID_PATTERN}: received ${JSON.stringify(id)}`)
}

/** Whether an id is of 128 random bits, and so of no upload that ever was. */
export function isRandomId(id: string): boolean {
  return RANDOM_ID.test(id)
}

/** The sidecar of an upload without bytes. */
export function newSidecar(
  upload: NewStoredUpload & { readonly id: string },
  createdAt: Date,
  mark?: StoredMark,
): Sidecar {
  const { id, length, metadata = new Map(), encodedMetadata, partial = false } = upload
  const { parts, encodedParts, maxSize, completion, digest } = upload
  return {
    ID: id,
    Size: length ?? 0,
    SizeIsDeferred: length === undefined,
    Offset: 0,
    MetaData: Object.fromEntries(metadata),
    IsPartial: partial,
    IsFinal: parts !== undefined,
    PartialUploads: parts ?? null,
    Storage: { Type: 'filestore' },
    Longhaul: {
      version: VERSION,
      state: 'receiving',
      createdAt: createdAt.toISOString(),
      encodedMetadata, encodedParts, maxSize, completion, digest, mark,
    },
  }
}

/** What a sidecar and its data say together. */
export function toUpload(sidecar: Sidecar, { size, createdAt, updatedAt }: DataFile): StoredUpload {
  const { ID: id, Size, SizeIsDeferred, MetaData, IsPartial: partial, PartialUploads, Longhaul } = sidecar
  const length = SizeIsDeferred ? undefined : Size
  return {
    id,
    offset: size,
    length,
    metadata: new Map(Object.entries(MetaData)),
    encodedMetadata: Longhaul?.encodedMetadata,
    // Other servers keep no state.
    state: Longhaul?.state ?? (size === length ? 'finished' : 'receiving'),
    outcome: Longhaul?.outcome,
    partial,
    parts: PartialUploads ?? undefined,
    encodedParts: Longhaul?.encodedParts,
    maxSize: Longhaul?.maxSize,
    completion: Longhaul?.completion,
    digest: Longhaul?.digest,
    createdAt: Longhaul ? new Date(Longhaul.createdAt) : createdAt,
    updatedAt,
    mark: Longhaul?.mark,
    foreign: Longhaul === undefined,
  }
}

/**
 * What a sidecar says when its data are gone: they were moved, or the application has taken them,
 * as it may since the upload was `finishing`. `undefined` if neither can be.
 */
export function toMovedUpload(sidecar: Sidecar): StoredUpload | undefined {
  const { state, movedAt: moment } = sidecar.Longhaul ?? {}
  if (sidecar.SizeIsDeferred || (moment === undefined && state !== 'finishing')) return undefined
  const movedAt = moment === undefined ? new Date() : new Date(moment)
  return { ...toUpload(sidecar, { size: sidecar.Size, createdAt: movedAt, updatedAt: movedAt }), movedAt }
}

/** Reads a sidecar of this store or of tusd; `undefined` for anything else. */
export function parseSidecar(text: string): Sidecar | LaterSidecar | undefined {
  const value = parseRecord(text)
  if (!value) return undefined
  const { ID, Size, SizeIsDeferred = false, IsPartial = false, IsFinal } = value
  // First, as a later version may have changed anything else.
  const laterVersion = laterVersionOf(value['Longhaul'])
  if (laterVersion !== undefined) return { laterVersion }
  const metadata = value['MetaData'] ?? {}
  const parts = value['PartialUploads'] ?? null
  const Longhaul = value['Longhaul'] === undefined ? undefined : parseLonghaul(value['Longhaul'])
  if (typeof ID !== 'string' || typeof SizeIsDeferred !== 'boolean' || typeof IsPartial !== 'boolean') return undefined
  if (!SizeIsDeferred && !isByteCount(Size)) return undefined
  if (!isRecord(metadata) || !Object.values(metadata).every((entry) => typeof entry === 'string')) return undefined
  if (parts !== null && !(Array.isArray(parts) && parts.every(isId))) return undefined
  if (value['Longhaul'] !== undefined && !Longhaul) return undefined
  return {
    ...(value as unknown as Sidecar),
    SizeIsDeferred,
    MetaData: metadata as Sidecar['MetaData'],
    IsPartial,
    PartialUploads: IsFinal === true ? parts : null, // tusd writes an empty list for others
    Longhaul,
  }
}

/** Reads a sidecar of @tus/file-store; `undefined` for anything else. */
export function parseNodeSidecar(text: string): Sidecar | undefined {
  const { id, size, metadata: given } = parseRecord(text) ?? {}
  const metadata = given ?? {}
  if (typeof id !== 'string' || !(size === undefined || isByteCount(size)) || !isRecord(metadata)) return undefined
  const entries = Object.entries(metadata).map(([key, value]) => [key, typeof value === 'string' ? value : ''] as const)
  const { Longhaul: _, ...sidecar } = newSidecar({ id, length: size, metadata: new Map(entries) }, new Date(0))
  return sidecar
}

function laterVersionOf(longhaul: unknown): number | undefined {
  const version = isRecord(longhaul) ? longhaul['version'] : undefined
  return typeof version === 'number' && version > VERSION ? version : undefined
}

/** Our part, of each version so far, as the present version says it. */
function parseLonghaul(value: unknown): LonghaulSidecar | undefined {
  if (!isRecord(value)) return undefined
  const ours = value['version'] === 1 ? fromVersion1(value) : value
  return isLonghaulSidecar(ours) ? ours : undefined
}

function fromVersion1({ verifiedOffset, flushed, ...others }: Record<string, unknown>): object {
  return { ...others, version: VERSION, mark: markOfVersion1(verifiedOffset, flushed) }
}

/**
 * The mark that protects as much as the two did; an invalid mark if they were damaged.
 *
 * Bytes behind `verifiedOffset` counted in no boot, so one mark for both names no boot. It is at
 * the lower of the two offsets, as neither let bytes behind it count.
 */
function markOfVersion1(verifiedOffset: unknown, flushed: unknown): unknown {
  if (flushed === undefined) return verifiedOffset === undefined ? undefined : { offset: verifiedOffset }
  const mark: unknown = isRecord(flushed) && { offset: flushed['offset'], boot: flushed['boot'], flushed: true }
  if (verifiedOffset === undefined || !isMark(mark)) return mark
  return isByteCount(verifiedOffset) && { offset: Math.min(verifiedOffset, mark.offset), flushed: true }
}

function isLonghaulSidecar(value: object): value is LonghaulSidecar {
  const { version, state, createdAt, movedAt, ...others } = value as Record<string, unknown>
  const { encodedMetadata, encodedParts, maxSize, completion, digest, mark, outcome } = others
  return (
    version === VERSION && STATES.includes(state) && isDate(createdAt) && (movedAt === undefined || isDate(movedAt)) &&
    [encodedMetadata, encodedParts].every((entry) => entry === undefined || isHeader('Upload-Metadata', entry)) &&
    (maxSize === undefined || isByteCount(maxSize)) && COMPLETIONS.includes(completion) &&
    (digest === undefined || isDigest(digest)) && (mark === undefined || isMark(mark)) &&
    (outcome === undefined || isOutcome(outcome))
  )
}

function isMark(value: unknown): value is StoredMark {
  if (!isRecord(value)) return false
  const { offset, boot, flushed } = value
  return isByteCount(offset) && isStringIfAny(boot) && (flushed === undefined || typeof flushed === 'boolean')
}

function isDigest(value: unknown): value is StoredDigest {
  return isRecord(value) && typeof value['algorithm'] === 'string' && isStringIfAny(value['value'])
}

function isOutcome(value: unknown): value is StoredOutcome {
  if (!isRecord(value)) return false
  const { status, headers, body } = value
  const isFinal = status === undefined || (isByteCount(status) && status >= 200 && status <= 599)
  if (!isFinal || typeof body !== 'string' || !isRecord(headers)) return false
  return Object.entries(headers).every(([name, content]) => isHeader(name, content))
}

/** Whether it can be sent. */
function isHeader(name: string, value: unknown): boolean {
  try {
    validateHeaderName(name)
    validateHeaderValue(name, value as string)
    return typeof value === 'string'
  } catch {
    return false
  }
}

function isId(value: unknown): boolean {
  return typeof value === 'string' && ID_PATTERN.test(value)
}

function isDate(value: unknown): boolean {
  return typeof value === 'string' && !Number.isNaN(Date.parse(value))
}

function isStringIfAny(value: unknown): boolean {
  return value === undefined || typeof value === 'string'
}

function isByteCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function parseRecord(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return isRecord(value) ? value : undefined
  } catch {
    return undefined
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
