// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { formatContentDisposition, sanitizeFilename } from '../../lib/download/content-disposition.ts'

const headers: readonly (readonly [filename: string | undefined, parameters: string])[] = [
  [undefined, ''],
  ['', ''],
  ['..', ''],
  ['a/', ''],
  [' \r\n\0\u202e', ''],
  ['a.txt', '; filename="a.txt"'],
  ['a b.txt', '; filename="a b.txt"'],
  ["it's (1)*.txt", `; filename="it's (1)*.txt"`],
  ['a;b=c,d.txt', '; filename="a;b=c,d.txt"'],
  ['naïve.md', `; filename="na_ve.md"; filename*=UTF-8''na%C3%AFve.md`],
  ['名前.pdf', `; filename="__.pdf"; filename*=UTF-8''%E5%90%8D%E5%89%8D.pdf`],
  ['😀.png', `; filename="_.png"; filename*=UTF-8''%F0%9F%98%80.png`],
  ['a"b.txt', `; filename="a_b.txt"; filename*=UTF-8''a%22b.txt`],
  ['100%25.txt', `; filename="100_25.txt"; filename*=UTF-8''100%2525.txt`],
  ["é'()*!~.txt", `; filename="_'()*!~.txt"; filename*=UTF-8''%C3%A9%27%28%29%2A!~.txt`],
  ['\ud800.txt', `; filename="_.txt"; filename*=UTF-8''%EF%BF%BD.txt`],
  ['x\r\nSet-Cookie: a=1', '; filename="xSet-Cookie: a=1"'],
  ['x"; filename="evil.exe', `; filename="x_; filename=_evil.exe"; filename*=UTF-8''x%22%3B%20filename%3D%22evil.exe`],
]

for (const [filename, parameters] of headers) {
  test(`${JSON.stringify(filename) ?? 'no name'} is written as ${parameters === '' ? 'no parameter' : parameters.slice(2)}`, () => {
    assert.equal(formatContentDisposition('attachment', filename), `attachment${parameters}`)
    assert.equal(formatContentDisposition('inline', filename), `inline${parameters}`)
  })
}

const names: readonly (readonly [text: string, name: string | undefined])[] = [
  ['../../etc/passwd', 'passwd'],
  ['C:\\Users\\me\\a.txt', 'a.txt'],
  ['a/b\\c.txt', 'c.txt'],
  ['a\\b/c.txt', 'c.txt'],
  ['/', undefined],
  ['\\', undefined],
  ['.', undefined],
  ['...', undefined],
  ['. . .', undefined],
  ['.bashrc', 'bashrc'],
  ['..\u0000.bashrc', 'bashrc'],
  [' . bashrc', 'bashrc'],
  ['a/.b', 'b'],
  ['a..txt.', 'a..txt.'],
  ['  a b\t', 'a b'],
  ['a\u0007\u007f\u0085\u2028\u2029b', 'ab'],
  ['photo\u202egpj.exe', 'photogpj.exe'],
  ['\u2066a\u2067b\u2068c\u2069', 'abc'],
  ['\ufeffa', 'a'],
  ['עברית.txt', 'עברית.txt'],
  ['__proto__', '__proto__'],
  ['\udc00\ud800', '\ufffd\ufffd'],
]

for (const [text, name] of names) {
  test(`of ${JSON.stringify(text)} is left ${name === undefined ? 'nothing' : JSON.stringify(name)}`, () => assert.equal(sanitizeFilename(text), name))
}

test('a long name is cut to 255 bytes of UTF-8, between two characters', () => {
  assert.equal(sanitizeFilename('a'.repeat(255)), 'a'.repeat(255))
  assert.equal(sanitizeFilename('a'.repeat(256)), 'a'.repeat(255))
  assert.equal(sanitizeFilename(`a${'é'.repeat(200)}`), `a${'é'.repeat(127)}`)
  assert.equal(sanitizeFilename('é'.repeat(200)), 'é'.repeat(127))
  assert.equal(sanitizeFilename('😀'.repeat(200)), '😀'.repeat(63))
  assert.equal(sanitizeFilename(`${'a'.repeat(254)} b`), 'a'.repeat(254))
})

const unit = fc.oneof(
  fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
  fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code)), // lone surrogates among them
  fc.constantFrom(...`./\\"%'()*; =\r\n\t\0aé名😀`, '\u202e', '\u2069', '\u2028', '\ud800', '\udc00'),
)
const anyName = fc.string({ unit, maxLength: 400 })

test('whatever the name, the header is what its grammar allows', () => {
  const grammar = /^attachment(?:; filename="[ !#-~]+"(?:; filename\*=UTF-8''(?:[A-Za-z0-9!#$&+\-.^_`|~]|%[0-9A-F]{2})+)?)?$/
  fc.assert(
    fc.property(anyName, (text) => {
      const header = formatContentDisposition('attachment', text)
      assert.match(header, grammar)
      assert.doesNotMatch(header.split('; filename*=')[0] ?? '', /[\\%]/)
    }),
    { numRuns: 2000 },
  )
})

test('whatever the name, the header says what was left of it', () => {
  fc.assert(
    fc.property(anyName, (text) => {
      const name = sanitizeFilename(text)
      const header = formatContentDisposition('inline', text)
      const [, plain, , encoded] = /^inline(?:; filename="([^"]*)"(; filename\*=UTF-8''(.*))?)?$/.exec(header) ?? []
      assert.equal(encoded === undefined ? plain : decodeURIComponent(encoded), name)
      if (encoded !== undefined) assert.equal(plain?.length, Array.from(name ?? '').length)
    }),
    { numRuns: 2000 },
  )
})

test('whatever the name, what is left of it is short, visible and no path, and stays when it is read again', () => {
  fc.assert(
    fc.property(anyName, (text) => {
      const name = sanitizeFilename(text)
      if (name === undefined) return
      assert.ok(name !== '' && Buffer.byteLength(name) <= 255)
      assert.doesNotMatch(name, /[/\\]|^[.\s]|\s$/)
      assert.doesNotMatch(name, /[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]|[\ud800-\udfff]/u)
      assert.equal(sanitizeFilename(name), name)
    }),
    { numRuns: 2000 },
  )
})

test('1 MB of a name is written in linear time', () => {
  const start = performance.now()
  for (const text of [' ', '.', '/', '\\', '"', '\ud800', '\u202e', 'é']) {
    formatContentDisposition('attachment', `${text.repeat(1_000_000)}x`)
  }
  assert.ok(performance.now() - start < 5000)
})
