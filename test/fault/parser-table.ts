// SPDX-License-Identifier: MIT

/**
 * Every parser of text that a stranger may have written, in one table, with a corpus of such texts.
 *
 * Each has tests of its own beside its source. What is asked here is what they have in common: whatever
 * the text, it is read as something that makes sense or refused in the documented way, the same way each
 * time, and nothing else changes.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { parseCommand, type Command } from '../../lib/cli/options.ts'
import { parseDuration, parseSize } from '../../lib/cli/quantity.ts'
import { parseByteRange } from '../../lib/download/byte-range.ts'
import { formatContentDisposition, sanitizeFilename } from '../../lib/download/content-disposition.ts'
import { formatHttpDate, parseHttpDate } from '../../lib/download/http-date.ts'
import { parseMediaType } from '../../lib/download/media-type.ts'
import { evaluatePreconditions, rangeApplies, type ConditionalHeaders } from '../../lib/download/preconditions.ts'
import { parseByteCount } from '../../lib/http/byte-count.ts'
import { announcesChecksum, parseChecksum } from '../../lib/tus/checksum.ts'
import { parseConcatenation } from '../../lib/tus/concatenation.ts'
import { checkCors, corsHeaders, toCors } from '../../lib/http/cors.ts'
import { effectiveMethod } from '../../lib/tus/effective-method.ts'
import type { UploadRequest } from '../../lib/upload/hooks.ts'
import { idAt, locationOf, toAddresses } from '../../lib/http/location.ts'
import { formatMetadata, parseMetadata } from '../../lib/tus/metadata.ts'
import { parseTarget } from '../../lib/http/request-target.ts'
import { parseFilename } from '../../lib/rufh/description.ts'
import { formatDigest, parseDigest, parseWantedDigest } from '../../lib/rufh/digests.ts'
import { parseBoolean, parseDictionary, parseInteger, parseItem } from '../../lib/rufh/structured-fields.ts'

/** Texts that are read, and texts that are not. */
export interface Corpus {
  readonly accepted: readonly string[]
  readonly refused: readonly string[]
}

/** A parser, and what holds for whatever it reads. */
export interface Parser {
  readonly name: string
  readonly corpus: Corpus
  /** Reads a text. May throw the errors that `throws` names, and no other. */
  readonly read: (text: string) => unknown
  /** Whether a text was refused. */
  readonly isRefusal: (meaning: unknown) => boolean
  /** Fails if the text was read as something that nothing may be read as. */
  readonly check: (meaning: never, text: string) => void
  /** Writes what was read so that it can be read again. */
  readonly write: ((meaning: never) => string) | undefined
  /** The class of the error by which it refuses. */
  readonly throws: typeof TypeError | undefined
}

/** The parts of a {@link Parser} that have a default: `undefined` refuses, nothing is thrown, nothing can be written. */
interface Row<T> {
  readonly read: (text: string) => T | Promise<T>
  readonly check: (meaning: Exclude<T, undefined>, text: string) => void
  readonly isRefusal?: (meaning: T) => boolean
  readonly write?: (meaning: Exclude<T, undefined>) => string
  readonly throws?: typeof TypeError
}

const corpora: Readonly<Record<string, Corpus>> = { ...readCorpus('headers'), ...readCorpus('options') }

const ID = /^[A-Za-z0-9_-]{1,128}$/
const VISIBLE = /^[!-~]+$/
const VALIDATORS = { etag: '"tag"', modifiedSeconds: 784111777 }
const HERE = toAddresses('/files/', undefined, [])
const BEHIND_A_PROXY = toAddresses('/files/', undefined, ['127.0.0.1'])
const CORS = toCors({ origins: ['https://app.example'] }, { requestFields: [], responseFields: [] })
const LENGTH = 1000

const ITEM_TYPES = {
  integer: 'number',
  decimal: 'number',
  date: 'number',
  string: 'string',
  token: 'string',
  'display-string': 'string',
  boolean: 'boolean',
  bytes: 'object',
}

export const PARSERS: readonly Parser[] = [
  row('Upload-Metadata', {
    read: parseMetadata,
    check: (metadata) => {
      assert.ok(metadata instanceof Map && metadata.size > 0)
      for (const [key, value] of metadata) assert.ok(VISIBLE.test(key) && !key.includes(',') && typeof value === 'string')
    },
    write: (metadata) => formatMetadata(metadata) ?? '',
  }),
  row('Upload-Checksum', {
    read: parseChecksum,
    check: ({ algorithm, digest }) => assert.equal(digest.length, { sha1: 20, sha256: 32, sha512: 64, md5: 16 }[algorithm]),
    write: ({ algorithm, digest }) => `${algorithm} ${digest.toString('base64')}`,
  }),
  row('Trailer', {
    read: announcesChecksum,
    isRefusal: (announced) => !announced,
    check: (_, text) => assert.match(text, /upload-checksum/i),
  }),
  row('Upload-Concat', {
    read: parseConcatenation,
    check: (concatenation) => {
      if (concatenation.kind === 'final') for (const address of concatenation.addresses) assert.match(address, VISIBLE)
    },
    write: (concatenation) => (concatenation.kind === 'partial' ? 'partial' : `final;${concatenation.addresses.join(' ')}`),
  }),
  row('Upload-Offset', { read: parseByteCount, check: isCount, write: String }),
  row('request target', {
    read: (text) => parseTarget(text, '/files/'),
    isRefusal: ({ kind }) => kind === 'none',
    check: (target) => target.kind === 'upload' && assert.match(target.id, ID),
    write: (target) => (target.kind === 'upload' ? `/files/${target.id}` : '/files/'),
  }),
  row('X-HTTP-Method-Override', {
    read: (text) => effectiveMethod('POST', text),
    check: (method, text) => assert.equal(method, text),
    write: (method) => method,
  }),
  row('address of a part', {
    read: (text) => idAt(HERE, requestWith({ host: 'test' }), text),
    check: (id) => assert.match(id, ID),
    write: (id) => `/files/${id}`,
  }),
  row('Host', {
    read: (host) => idAt(HERE, requestWith({ host }), 'http://test/files/a'),
    check: (id, text) => assert.deepEqual([id, /^test(:80|:443)?$/i.test(text)], ['a', true]),
  }),
  row('Forwarded', {
    read: (forwarded) => locationOf(BEHIND_A_PROXY, requestWith({ forwarded }), 'a'),
    isRefusal: (location) => location === '/files/a',
    check: isLocation,
  }),
  row('X-Forwarded-Host', {
    read: (text) => locationOf(BEHIND_A_PROXY, requestWith({ 'x-forwarded-host': text }), 'a'),
    isRefusal: (location) => location === '/files/a',
    check: isLocation,
  }),
  row<Awaited<ReturnType<typeof corsHeaders>>>('Origin', {
    read: (text) => corsHeaders(CORS, text),
    isRefusal: (headers) => !('Access-Control-Allow-Origin' in headers),
    check: (headers, text) =>
      assert.deepEqual([headers['Access-Control-Allow-Origin'], text], ['https://app.example', 'https://app.example']),
  }),
  row('Range', {
    read: (text) => parseByteRange(text, LENGTH),
    isRefusal: ({ kind }) => kind !== 'part',
    check: (range) => assert.ok(range.kind === 'part' && range.start >= 0 && range.start < range.end && range.end <= LENGTH),
    write: (range) => (range.kind === 'part' ? `bytes=${range.start}-${range.end - 1}` : ''),
  }),
  condition('If-Match', 'failed'),
  condition('If-None-Match', 'passed'),
  condition('If-Unmodified-Since', 'failed'),
  condition('If-Modified-Since', 'not-modified'),
  row('If-Range', {
    read: (text) => rangeApplies(text, VALIDATORS),
    isRefusal: (applies) => !applies,
    check: (_, text) => assert.ok(corpora['If-Range']!.accepted.includes(text)),
  }),
  row('HTTP-date', { read: parseHttpDate, check: (seconds) => assert.ok(Number.isSafeInteger(seconds)), write: formatHttpDate }),
  row('media type', {
    read: parseMediaType,
    check: (type) => assert.match(type, /^[^\s/,;A-Z]+\/[^\s/,;A-Z]+$/),
    write: (type) => type,
  }),
  row('file name', {
    read: sanitizeFilename,
    check: (name) => {
      assert.ok(Buffer.from(name).toString() === name && Buffer.byteLength(name) <= 255)
      assert.doesNotMatch(name, /^[.\s]|[/\\\0-\x1f\x7f]|\s$/)
      assert.match(
        formatContentDisposition('attachment', name),
        /^attachment; filename="[ !#-$&-[\]-~]*"(; filename\*=UTF-8''[\w.!~%-]+)?$/,
      )
    },
    write: (name) => name,
  }),
  row('Structured Item', { read: parseItem, check: ({ type, value }) => assert.equal(typeof value, ITEM_TYPES[type]) }),
  row('Structured Integer', {
    read: parseInteger,
    check: (integer) => assert.ok(Number.isInteger(integer) && Math.abs(integer) <= 999_999_999_999_999),
    write: String,
  }),
  row('Structured Boolean', {
    read: parseBoolean,
    check: (value) => assert.equal(typeof value, 'boolean'),
    write: (value) => (value ? '?1' : '?0'),
  }),
  row('Structured Dictionary', {
    read: parseDictionary,
    check: (members) => {
      for (const [key, { type }] of members) assert.ok(/^[a-z*][a-z0-9_.*-]*$/.test(key) && (type === 'inner-list' || type in ITEM_TYPES))
    },
  }),
  row('Content-Digest', {
    read: parseDigest,
    isRefusal: ({ kind }) => kind !== 'digest',
    check: (field) => assert.ok(field.kind === 'digest' && field.digest.length === { sha256: 32, sha512: 64 }[field.algorithm]),
    write: (field) => (field.kind === 'digest' ? formatDigest(field.algorithm, Buffer.from(field.digest).toString('base64')) : ''),
  }),
  row('Want-Repr-Digest', { read: parseWantedDigest, check: (algorithm) => assert.ok(['sha256', 'sha512'].includes(algorithm)) }),
  row('Content-Disposition', { read: parseFilename, check: (name) => assert.equal(typeof name, 'string') }),
  row('size', { read: parseSize, check: isCount, write: String }),
  row('duration', { read: parseDuration, check: isCount, write: (durationMs) => `${durationMs}ms` }),
  row('command line', {
    read: (text) => parseCommand(text === '' ? [] : text.split(' ')),
    isRefusal: ({ kind }) => kind === 'invalid',
    check: isCommand,
  }),
  row('public URL', {
    read: (text) => toAddresses('/', text, []),
    throws: TypeError,
    check: ({ publicPath }) => assert.match(publicPath, /^\/([!-~]+\/)?$/),
  }),
  row('trusted proxy', {
    read: (text) => toAddresses('/', undefined, [text]),
    throws: TypeError,
    check: ({ trustedProxies }) => assert.equal(trustedProxies.rules.length, 1),
  }),
  row('allowed origin', {
    read: (text) => checkCors({ origins: [text] }),
    throws: TypeError,
    check: (_, text) => assert.match(text, /^[a-z][^/\s]*:\/\/[^/\s]+$/),
  }),
]

/** Every text of every corpus: what is meant for one parser may well reach another. */
export const ALL_TEXTS: readonly string[] = [corpora, readCorpus('sidecars'), readCorpus('tokens')]
  .flatMap((each) => Object.values(each))
  .flatMap(({ accepted, refused }) => [...accepted, ...refused])

/** What is put into texts to spoil them. */
const SPOILS = [
  '\0', '\r\n', '\n', '\t', ' ', ',', ';', '=', '"', "'", '/', '\\', '..', '%', '%00', '%2e', ':', '@', '*', '-', '+', '.', '0', '9', 'a',
  'Z', '_', '[', ']', '{', '}',
  '\u00a0', '\u2028', '\u202e', '\ufeff', '\ud800', '\uffff', 'é', 'İ', '٣', '😀', '__proto__', 'constructor', 'toString', 'prototype',
  '9007199254740993', 'undefined', 'null',
]

/** Texts that nearly are what a parser reads: one of its corpus, or of any, spoiled at a few places; now and then anything at all. */
export function textsFor({ accepted, refused }: Corpus): fc.Arbitrary<string> {
  const own = fc.constantFrom(...accepted, ...accepted, ...refused)
  const start = fc.oneof({ weight: 6, arbitrary: own }, { weight: 1, arbitrary: fc.constantFrom(...ALL_TEXTS) })
  const edit = fc.record({
    at: fc.nat(),
    removed: fc.constantFrom(0, 0, 1, 2, 5),
    repeated: fc.constantFrom(0, 0, 1, 3),
    inserted: fc.constantFrom('', ...SPOILS),
  })
  const spoiled = fc.tuple(start, fc.array(edit, { maxLength: 4 })).map(([text, edits]) =>
    edits.reduce((spoilt, { at, removed, repeated, inserted }) => {
      const from = at % (spoilt.length + 1)
      const end = from + removed
      return spoilt.slice(0, from) + inserted + spoilt.slice(from, end).repeat(repeated) + spoilt.slice(end)
    }, text),
  )
  return fc.oneof(
    { weight: 8, arbitrary: spoiled },
    { weight: 1, arbitrary: fc.string({ unit: 'binary' }) },
    { weight: 1, arbitrary: fc.string({ unit: fc.constantFrom(...SPOILS) }) },
  )
}

export function readCorpus(name: string): Readonly<Record<string, Corpus>> {
  return JSON.parse(readFileSync(new URL(`corpus/${name}.json`, import.meta.url), 'utf8')) as Record<string, Corpus>
}

function row<T>(name: string, { read, check, write, throws, isRefusal = (meaning) => meaning === undefined }: Row<T>): Parser {
  const corpus = corpora[name] ?? assert.fail(`There is no corpus for ${name}`)
  return { name, corpus, read, check, write, throws, isRefusal: isRefusal as Parser['isRefusal'] }
}

/** A condition, whose verdict alone shows what was read. */
function condition(name: string, refusal: ReturnType<typeof evaluatePreconditions>): Parser {
  const header = name.toLowerCase() as keyof ConditionalHeaders
  return row(name, {
    read: (text) => evaluatePreconditions({ [header]: text }, VALIDATORS),
    isRefusal: (verdict) => verdict === refusal,
    check: (verdict) => assert.ok(['passed', 'failed', 'not-modified'].includes(verdict)),
  })
}

function requestWith(headers: Record<string, string>): UploadRequest {
  return { headers, socket: { remoteAddress: '127.0.0.1' } } as unknown as UploadRequest
}

function isCount(count: number): void {
  assert.ok(Number.isSafeInteger(count) && count >= 0)
}

/** An address whose origin is one: nothing that ends a header, a path or a quotation. */
function isLocation(location: string): void {
  assert.match(location, /^https?:\/\/([A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?\/files\/a$/)
}

function isCommand(command: Command): void {
  if (command.kind === 'invalid') assert.doesNotMatch(command.message, /\n/)
  if (command.kind !== 'serve') return
  const { port, maxSize, graceMs, idleTimeoutMs, expiresMs = 1, path, publicUrl = '/' } = command.options
  for (const count of [port, maxSize, graceMs, idleTimeoutMs, expiresMs]) isCount(count)
  assert.ok(port <= 65535 && graceMs < 2 ** 31 && idleTimeoutMs < 2 ** 31)
  toAddresses(path, publicUrl, []) // what the command line lets through, the handler takes
}
