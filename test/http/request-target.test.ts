// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { posix } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseTarget, type Target } from '../../lib/http/request-target.ts'

const CREATION: Target = { kind: 'creation' }
const NONE: Target = { kind: 'none' }
const upload = (id: string): Target => ({ kind: 'upload', id })

const rows: readonly (readonly [target: string, expected: Target])[] = [
  ['/files/', CREATION],
  ['/files', CREATION],
  ['/files/?x=1', CREATION],
  ['/files?x=/files/abc', CREATION],
  ['/files/#top', CREATION],
  ['http://example.org/files/', CREATION],
  ['HTTPS://example.org:8080/files', CREATION],
  ['/files/abc', upload('abc')],
  ['/files/A-z_0', upload('A-z_0')],
  ['/files/abc?x=../y', upload('abc')],
  ['http://example.org/files/abc', upload('abc')],
  [`/files/${'a'.repeat(128)}`, upload('a'.repeat(128))],
  ['/files/__proto__', upload('__proto__')],
  ['/files/constructor', upload('constructor')],
  [`/files/${'a'.repeat(129)}`, NONE],
  [`/files/${'a'.repeat(5000)}`, NONE],
  ['', NONE],
  ['*', NONE],
  ['/', NONE],
  ['/filesabc', NONE],
  ['/file', NONE],
  ['/FILES/abc', NONE],
  ['//files/abc', NONE],
  ['/files//', NONE],
  ['/files//abc', NONE],
  ['/files/abc/', NONE],
  ['/files/abc/def', NONE],
  ['/files/.', NONE],
  ['/files/..', NONE],
  ['/files/../abc', NONE],
  ['/files/..%2fabc', NONE],
  ['/files/..%2Fabc', NONE],
  ['/files/..%5cabc', NONE],
  ['/files/..\\abc', NONE],
  ['/files/%2e%2e%2fabc', NONE],
  ['/files/%61bc', NONE],
  ['/files/abc%00', NONE],
  ['/files/abc\0', NONE],
  ['/files/abc\n', NONE],
  ['/files/abc.info', NONE],
  ['/files/abc.lock', NONE],
  ['/files/abc%20', NONE],
  ['/files/abc ', NONE],
  ['/files/ä', NONE],
  ['/x/files/abc', NONE],
  ['http:///files/', CREATION],
  ['ftp://example.org/files/', NONE],
]

for (const [target, expected] of rows) {
  const name = expected.kind === 'upload' ? 'an upload' : expected.kind === 'creation' ? 'the creation URL' : 'nothing'
  test(`${JSON.stringify(target.slice(0, 40))} names ${name}`, () => assert.deepEqual(parseTarget(target, '/files/'), expected))
}

test('at the root, the root is the creation URL and uploads lie directly below it', () => {
  assert.deepEqual(parseTarget('/', '/'), CREATION)
  assert.deepEqual(parseTarget('/abc', '/'), upload('abc'))
  assert.deepEqual(parseTarget('/abc/def', '/'), NONE)
})

test('every id that a store may have is found below every base path, with and without an origin and a query', () => {
  const id = fc.stringMatching(/^[A-Za-z0-9_-]{1,128}$/)
  const basePath = fc.constantFrom('/', '/files/', '/a/b/c/')
  const origin = fc.constantFrom('', 'http://a', 'https://[::1]:443')
  const rest = fc.constantFrom('', '?', '?a=/files/x', '#x', '?#')
  fc.assert(
    fc.property(id, basePath, origin, rest, (id, basePath, origin, rest) => {
      assert.deepEqual(parseTarget(`${origin}${basePath}${id}${rest}`, basePath), upload(id))
    }),
  )
})

test('whatever a request names, an id that comes out is a plain file name', () => {
  const nearlyTargets = fc.string({ unit: fc.constantFrom('/files/', '/', '.', '..', '%2f', '%5c', '\\', '\0', '?', '#', 'a', 'é', '\n') })
  fc.assert(
    fc.property(fc.oneof(nearlyTargets, fc.string({ unit: 'binary' }).map((text) => `/files/${text}`)), (target) => {
      const parsed = parseTarget(target, '/files/')
      if (parsed.kind !== 'upload') return
      assert.match(parsed.id, /^[A-Za-z0-9_-]{1,128}$/)
      assert.equal(posix.join('/uploads', parsed.id), `/uploads/${parsed.id}`)
    }),
    { numRuns: 2000 },
  )
})

test('a target of 100 KB is read in linear time', () => {
  const start = performance.now()
  for (const part of ['/', 'a', 'http://', '?', '%', '/files/']) parseTarget(part.repeat(100_000), '/files/')
  assert.ok(performance.now() - start < 2000)
})
