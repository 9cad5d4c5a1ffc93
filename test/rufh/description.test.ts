// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import type { IncomingHttpHeaders } from 'node:http'
import { test } from 'node:test'
import fc from 'fast-check'
import { metadataOf, parseFilename } from '../../lib/rufh/description.ts'
import type { UploadRequest } from '../../lib/upload/hooks.ts'

const KiB = 1024
const MiB = 1024 * KiB

function requestWith(headers: IncomingHttpHeaders): UploadRequest {
  return { headers } as UploadRequest
}

/** A quoted-string (RFC 9110 section 5.6.4). */
function quoted(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&')}"`
}

/** Dispositions, and the file that they name. */
const read: readonly (readonly [disposition: string, filename: string | undefined])[] = [
  ['attachment; filename="cat.png"', 'cat.png'],
  ['attachment; filename=cat.png', 'cat.png'],
  ['inline;filename=cat.png', 'cat.png'],
  ['attachment ; filename = "cat.png"', 'cat.png'],
  ['attachment;\tfilename="cat.png"', 'cat.png'],
  ['Attachment; FileName="cat.png"', 'cat.png'],
  ['form-data; name="file"; filename="cat.png"', 'cat.png'],
  ['attachment; filename="cat.png"; size=5', 'cat.png'],
  ['attachment; filename="a;b.png"', 'a;b.png'],
  ['attachment; filename="a; filename=b.png"', 'a; filename=b.png'],
  ['attachment; filename="a\\"b\\\\c"', 'a"b\\c'],
  ['attachment; filename="\\c\\a\\t"', 'cat'],
  ['attachment; filename=""', ''],
  ['attachment; filename="na\u00efve"', 'na\u00efve'],
  ["attachment; filename*=UTF-8''na%C3%AFve.txt", 'na\u00efve.txt'],
  ["attachment; filename*=utf-8'en'cat.png", 'cat.png'],
  ["attachment; filename=\"cat.png\"; filename*=UTF-8''%E7%8C%AB.png", '\u732b.png'],
  ["attachment; filename*=UTF-8''%E7%8C%AB.png; filename=\"cat.png\"", '\u732b.png'],
  ["attachment; filename=\"cat.png\"; filename*=UTF-8''%FF", 'cat.png'],
  ["attachment; filename=\"cat.png\"; filename*=UTF-8''%E7%8C", 'cat.png'],
  ["attachment; filename=\"cat.png\"; filename*=UTF-8''%4", 'cat.png'],
  ["attachment; filename=\"cat.png\"; filename*=ISO-8859-1''na%EFve", 'cat.png'],
  ["attachment; filename=\"cat.png\"; filename*=cat", 'cat.png'],
  ["attachment; filename*=UTF-8''%FF", undefined],
  ["attachment; filename*=UTF-8''..%2F..%2Fetc%2Fpasswd", '../../etc/passwd'],
  ["attachment; filename*=UTF-8''a%0D%0AX%3A%20y", 'a\r\nX: y'],
  ['attachment; __proto__=x; constructor=y', undefined],
  ['attachment', undefined],
  ['', undefined],
  ['   ', undefined],
  [';', undefined],
  ['; filename=cat.png', undefined],
  ['filename=cat.png', undefined],
  ['attachment; filename', undefined],
  ['attachment; filename=', undefined],
  ['attachment; filename="cat.png', undefined],
  ['attachment; filename="cat.png\\"', undefined],
  ['attachment; name=a b; filename=cat.png', undefined],
  ['attachment, attachment; filename=cat.png', undefined],
  ['attachment; xfilename=cat.png', undefined],
]

for (const [disposition, filename] of read) {
  test(`${JSON.stringify(disposition)} ${filename === undefined ? 'names no file' : `names ${JSON.stringify(filename)}`}`, () => {
    assert.equal(parseFilename(disposition), filename)
  })
}

test('whatever the name, a quoted-string of it is read as it was', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.integer({ min: 0x20, max: 0xff }).map((code) => String.fromCharCode(code)) }), (name) => {
      assert.equal(parseFilename(`attachment; filename=${quoted(name)}; size=1`), name)
    }),
  )
})

test('whatever the name, the form of it that need not be ASCII is read as it was', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (name) => {
      const encoded = encodeURIComponent(name).replace(/['()]/g, (character) => `%${character.charCodeAt(0).toString(16)}`)
      fc.pre(encoded !== '')
      assert.equal(parseFilename(`attachment; filename="other"; filename*=UTF-8''${encoded}`), name)
    }),
  )
})

test('whatever the text, it names a file or none, the same each time', () => {
  const pieces = fc.constantFrom(
    'attachment',
    ';',
    '; ',
    'filename',
    'filename*',
    '=',
    '"',
    '\\',
    "UTF-8''",
    '%41',
    '%',
    '%FF',
    ' ',
    '\t',
    'a',
    ',',
    '\u0000',
    '\r\n',
    '\u732b',
    '\ud800',
  )
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.array(pieces, { maxLength: 30 }).map((each) => each.join(''))), (text) => {
      const name = parseFilename(text)
      assert.ok(name === undefined || typeof name === 'string')
      assert.equal(parseFilename(text), name)
      assert.equal(parseFilename('attachment; filename=a'), 'a', 'no reading leaves anything behind for the next')
    }),
    { numRuns: 2000 },
  )
})

/** Made of what a pattern may have to go back over, and long enough that a second look at each character would take minutes. */
const hostile: readonly (readonly [what: string, text: (length: number) => string])[] = [
  ['a name in quotes', (length) => `a; filename="${'x'.repeat(length)}"`],
  ['a quote that nothing ends', (length) => `a; filename="${'x'.repeat(length)}`],
  ['escapes', (length) => `a; filename="${'\\x'.repeat(length / 2)}"`],
  ['escapes of backslashes that nothing ends', (length) => `a; filename="${'\\\\'.repeat(length / 2)}`],
  ['quotes', (length) => `a; filename=${'"'.repeat(length)}`],
  ['spaces', (length) => `a${' '.repeat(length)}`],
  ['spaces before', (length) => ' '.repeat(length)],
  ['spaces behind a semicolon', (length) => `a;${' '.repeat(length)}`],
  ['spaces behind a key', (length) => `a;b${' '.repeat(length)}`],
  ['spaces behind an equals sign', (length) => `a;b=${' '.repeat(length)}`],
  ['spaces and tabs by turns', (length) => `a;b${' \t'.repeat(length / 2)}=`],
  ['semicolons', (length) => `a${';'.repeat(length)}`],
  ['a long type', (length) => 'a'.repeat(length)],
  ['a long key', (length) => `a;${'b'.repeat(length)}`],
  ['a long token', (length) => `a;filename=${'b'.repeat(length)}"`],
  ['parameters', (length) => `a${';b=c'.repeat(length / 4)};`],
  ['file names', (length) => `a${';filename="c"'.repeat(length / 13)}`],
  ['percent signs', (length) => `a;filename*=UTF-8''${'%'.repeat(length)}`],
  ['percent-encoding', (length) => `a;filename*=UTF-8''${'%41'.repeat(length / 3)}`],
  ['apostrophes', (length) => `a;filename*=UTF-8${"'".repeat(length)}`],
  ['a long language', (length) => `a;filename*=UTF-8'${'-'.repeat(length)}`],
]

for (const [what, text] of hostile) {
  test(`64 KiB of ${what} are read at once, and a megabyte in time that grows no faster`, () => {
    const startMs = performance.now()
    for (const length of [64 * KiB, MiB]) {
      const name = parseFilename(text(length))
      assert.ok(name === undefined || name.length <= length)
    }
    assert.ok(performance.now() - startMs < 5000, 'it looks at each character a bounded number of times')
  })
}

for (const [what, name] of [['characters', 'x'.repeat(16 * MiB)], ['escapes', '"'.repeat(8 * MiB)]] as const) {
  test(`a quoted name of 16 MiB of ${what} is read as one of a few is`, () => {
    assert.equal(parseFilename(`a; filename=${quoted(name)}`) === name, true)
  })
}

test('a description has what the fields say, as they say it', () => {
  const headers = {
    'content-type': 'Image/PNG; q=1',
    'content-encoding': 'gzip',
    'content-disposition': "attachment; filename*=UTF-8''%E7%8C%AB",
  }
  assert.deepEqual(
    metadataOf(requestWith(headers)),
    new Map([
      ['filename', '\u732b'],
      ['filetype', 'Image/PNG; q=1'],
      ['contentEncoding', 'gzip'],
    ]),
  )
})

test('a description has no entry for a field that is not there, or says nothing that it is about', () => {
  assert.deepEqual(metadataOf(requestWith({})), new Map())
  assert.deepEqual(
    metadataOf(requestWith({ 'content-disposition': 'attachment', 'content-type': 'text/plain' })),
    new Map([['filetype', 'text/plain']]),
  )
})

test('whatever the fields, the description of them has no other keys, and text for each', () => {
  const value = fc.option(fc.string({ unit: 'binary' }), { nil: undefined })
  fc.assert(
    fc.property(value, value, value, (type, encoding, disposition) => {
      const fields = Object.entries({ 'content-type': type, 'content-encoding': encoding, 'content-disposition': disposition })
      for (const [key, text] of metadataOf(requestWith(Object.fromEntries(fields.filter(([, each]) => each !== undefined))))) {
        assert.ok(['filename', 'filetype', 'contentEncoding'].includes(key) && typeof text === 'string')
      }
    }),
  )
})
