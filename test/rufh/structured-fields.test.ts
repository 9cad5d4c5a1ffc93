// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  formatDictionary,
  parseBoolean,
  parseDictionary,
  parseInteger,
  parseItem,
  type BareItem,
  type Member,
} from '../../lib/rufh/structured-fields.ts'

/** The shape of the HTTP working group's own test suite; an expectation is what this parser makes of a value. */
type Vector = { readonly name: string; readonly raw: readonly string[] } & (
  | { readonly header_type: 'item'; readonly expected: BareItem }
  | { readonly header_type: 'dictionary'; readonly expected: readonly (readonly [key: string, member: Member])[] }
  | { readonly header_type: 'item' | 'dictionary'; readonly must_fail: true }
)

const integer = (value: number): BareItem => ({ type: 'integer', value })
const decimal = (value: number): BareItem => ({ type: 'decimal', value })
const date = (value: number): BareItem => ({ type: 'date', value })
const boolean = (value: boolean): BareItem => ({ type: 'boolean', value })
const string = (value: string): BareItem => ({ type: 'string', value })
const token = (value: string): BareItem => ({ type: 'token', value })
const display = (value: string): BareItem => ({ type: 'display-string', value })
const bytes = (value: string | readonly number[]): BareItem => ({ type: 'bytes', value: Buffer.from(value as string) })
const list: Member = { type: 'inner-list' }

const items: readonly Vector[] = [
  { name: 'an integer is one digit at least', raw: ['7'], header_type: 'item', expected: integer(7) },
  { name: 'an integer may be negative', raw: ['-1048576'], header_type: 'item', expected: integer(-1048576) },
  { name: 'an integer has fifteen digits at most', raw: ['999999999999999'], header_type: 'item', expected: integer(999_999_999_999_999) },
  {
    name: 'a negative integer has fifteen digits at most',
    raw: ['-999999999999999'],
    header_type: 'item',
    expected: integer(-999_999_999_999_999),
  },
  { name: 'zeros may lead', raw: ['0007'], header_type: 'item', expected: integer(7) },
  { name: 'leading zeros count as digits', raw: ['000000000000001'], header_type: 'item', expected: integer(1) },
  { name: 'zero has no sign once it is read', raw: ['-0'], header_type: 'item', expected: integer(0) },
  { name: 'sixteen digits are no integer', raw: ['1000000000000000'], header_type: 'item', must_fail: true },
  { name: 'sixteen digits are no negative integer', raw: ['-1000000000000000'], header_type: 'item', must_fail: true },
  { name: 'sixteen zeros are no integer', raw: ['0000000000000000'], header_type: 'item', must_fail: true },
  { name: 'a sign alone is nothing', raw: ['-'], header_type: 'item', must_fail: true },
  { name: 'two signs are nothing', raw: ['--7'], header_type: 'item', must_fail: true },
  { name: 'a plus is no sign', raw: ['+7'], header_type: 'item', must_fail: true },
  { name: 'a sign stands before its digits, not behind', raw: ['7-'], header_type: 'item', must_fail: true },
  { name: 'a sign and its digits stand together', raw: ['- 7'], header_type: 'item', must_fail: true },
  { name: 'an integer has no exponent', raw: ['1e3'], header_type: 'item', must_fail: true },
  { name: 'an integer is not hexadecimal', raw: ['0x1f'], header_type: 'item', must_fail: true },
  { name: 'digits are not grouped', raw: ['1_000'], header_type: 'item', must_fail: true },
  { name: 'digits are ASCII', raw: ['١٢'], header_type: 'item', must_fail: true },
  { name: 'letters do not follow digits', raw: ['7a'], header_type: 'item', must_fail: true },

  { name: 'a decimal has one digit of fraction at least', raw: ['2.5'], header_type: 'item', expected: decimal(2.5) },
  { name: 'a decimal may be negative', raw: ['-0.75'], header_type: 'item', expected: decimal(-0.75) },
  { name: 'a decimal has three digits of fraction at most', raw: ['3.142'], header_type: 'item', expected: decimal(3.142) },
  {
    name: 'a decimal has twelve digits before its point at most',
    raw: ['999999999999.999'],
    header_type: 'item',
    expected: decimal(999_999_999_999.999),
  },
  { name: 'a whole decimal stays one', raw: ['5.0'], header_type: 'item', expected: decimal(5) },
  { name: 'zeros may lead and trail in a decimal', raw: ['004.500'], header_type: 'item', expected: decimal(4.5) },
  { name: 'a decimal zero has no sign once it is read', raw: ['-0.0'], header_type: 'item', expected: decimal(0) },
  { name: 'a fraction has no fourth digit', raw: ['3.1415'], header_type: 'item', must_fail: true },
  { name: 'a fraction has no fourth digit before a parameter either', raw: ['3.1415;a'], header_type: 'item', must_fail: true },
  { name: 'thirteen digits before the point are too many', raw: ['1000000000000.5'], header_type: 'item', must_fail: true },
  { name: 'a point needs digits behind it', raw: ['5.'], header_type: 'item', must_fail: true },
  { name: 'a point needs digits before it', raw: ['.5'], header_type: 'item', must_fail: true },
  { name: 'a point needs digits between it and the sign', raw: ['-.5'], header_type: 'item', must_fail: true },
  { name: 'a decimal has one point', raw: ['5.5.5'], header_type: 'item', must_fail: true },
  { name: 'points do not stand side by side', raw: ['5..5'], header_type: 'item', must_fail: true },
  { name: 'a comma is no point', raw: ['5,5'], header_type: 'item', must_fail: true },

  { name: 'a date is in seconds', raw: ['@1785542400'], header_type: 'item', expected: date(1785542400) },
  { name: 'a date may lie before 1970', raw: ['@-86400'], header_type: 'item', expected: date(-86400) },
  { name: 'the first date has no sign once it is read', raw: ['@-0'], header_type: 'item', expected: date(0) },
  {
    name: 'a date may lie as far ahead as fifteen digits reach',
    raw: ['@999999999999999'],
    header_type: 'item',
    expected: date(999_999_999_999_999),
  },
  { name: 'a date has no sixteenth digit', raw: ['@1000000000000000'], header_type: 'item', must_fail: true },
  { name: 'a date has no fraction', raw: ['@1785542400.5'], header_type: 'item', must_fail: true },
  { name: 'a date has digits', raw: ['@'], header_type: 'item', must_fail: true },
  { name: 'a date stands together', raw: ['@ 1785542400'], header_type: 'item', must_fail: true },
  { name: 'a date is not spelled out', raw: ['@2026-08-01'], header_type: 'item', must_fail: true },

  { name: 'true is ?1', raw: ['?1'], header_type: 'item', expected: boolean(true) },
  { name: 'false is ?0', raw: ['?0'], header_type: 'item', expected: boolean(false) },
  { name: 'a boolean is 0 or 1', raw: ['?2'], header_type: 'item', must_fail: true },
  { name: 'a boolean is one digit', raw: ['?01'], header_type: 'item', must_fail: true },
  { name: 'a boolean has a digit', raw: ['?'], header_type: 'item', must_fail: true },
  { name: 'a boolean stands together', raw: ['? 1'], header_type: 'item', must_fail: true },
  { name: 'a boolean has no letters', raw: ['?t'], header_type: 'item', must_fail: true },
  { name: 'the word true is a token', raw: ['true'], header_type: 'item', expected: token('true') },

  { name: 'a token is one letter at least', raw: ['x'], header_type: 'item', expected: token('x') },
  { name: 'a token keeps its case', raw: ['Chunked'], header_type: 'item', expected: token('Chunked') },
  { name: 'a token may be a star', raw: ['*'], header_type: 'item', expected: token('*') },
  {
    name: 'a token may look like a media type',
    raw: ['application/partial-upload'],
    header_type: 'item',
    expected: token('application/partial-upload'),
  },
  {
    name: 'a token may look like a URL',
    raw: ['https://a.example:8443/~u/%7E'],
    header_type: 'item',
    expected: token('https://a.example:8443/~u/%7E'),
  },
  {
    name: 'a token may hold every tchar, colons and slashes',
    raw: ["t!#$%&'*+-.^_`|~:/09AZaz"],
    header_type: 'item',
    expected: token("t!#$%&'*+-.^_`|~:/09AZaz"),
  },
  { name: 'a token does not begin with a digit', raw: ['1st'], header_type: 'item', must_fail: true },
  { name: 'a token does not begin with an underscore', raw: ['_x'], header_type: 'item', must_fail: true },
  { name: 'a token does not begin with a slash', raw: ['/x'], header_type: 'item', must_fail: true },
  { name: 'a token has no equals sign', raw: ['x=1'], header_type: 'item', must_fail: true },
  { name: 'a token has no at sign', raw: ['a@b'], header_type: 'item', must_fail: true },
  { name: 'a token has no brackets', raw: ['a[0]'], header_type: 'item', must_fail: true },
  { name: 'a token is ASCII', raw: ['größe'], header_type: 'item', must_fail: true },

  { name: 'a string may be empty', raw: ['""'], header_type: 'item', expected: string('') },
  { name: 'a string may hold spaces', raw: ['" a  b "'], header_type: 'item', expected: string(' a  b ') },
  {
    name: 'a string may hold what means something elsewhere',
    raw: ['"a=1, (b;c) :d: ?1 @5 %e"'],
    header_type: 'item',
    expected: string('a=1, (b;c) :d: ?1 @5 %e'),
  },
  { name: 'a quote in a string is escaped', raw: ['"say \\"when\\""'], header_type: 'item', expected: string('say "when"') },
  { name: 'a backslash in a string is escaped', raw: ['"C:\\\\uploads\\\\"'], header_type: 'item', expected: string('C:\\uploads\\') },
  { name: 'an escaped backslash escapes nothing', raw: ['"\\\\\\""'], header_type: 'item', expected: string('\\"') },
  { name: 'a string may be one escape', raw: ['"\\""'], header_type: 'item', expected: string('"') },
  { name: 'a percent sign in a string is one', raw: ['"%41"'], header_type: 'item', expected: string('%41') },
  {
    name: 'a string may hold all of printable ASCII',
    raw: [`"${printable('"\\')}"`],
    header_type: 'item',
    expected: string(printable('"\\')),
  },
  { name: 'a string ends', raw: ['"a'], header_type: 'item', must_fail: true },
  { name: 'a quote alone is nothing', raw: ['"'], header_type: 'item', must_fail: true },
  { name: 'an escaped quote does not end a string', raw: ['"a\\"'], header_type: 'item', must_fail: true },
  { name: 'a backslash escapes something', raw: ['"\\'], header_type: 'item', must_fail: true },
  { name: 'letters are not escaped', raw: ['"\\n"'], header_type: 'item', must_fail: true },
  { name: 'spaces are not escaped', raw: ['"\\ "'], header_type: 'item', must_fail: true },
  { name: 'a string has no tab', raw: ['"a\tb"'], header_type: 'item', must_fail: true },
  { name: 'a string has no line feed', raw: ['"a\nb"'], header_type: 'item', must_fail: true },
  { name: 'a string has no NUL', raw: ['"a\0b"'], header_type: 'item', must_fail: true },
  { name: 'a string has no DEL', raw: ['"a\x7fb"'], header_type: 'item', must_fail: true },
  { name: 'a string is ASCII', raw: ['"größe"'], header_type: 'item', must_fail: true },
  { name: 'a string has no half of a character', raw: ['"\ud83d"'], header_type: 'item', must_fail: true },
  { name: 'single quotes make no string', raw: ["'a'"], header_type: 'item', must_fail: true },
  { name: 'nothing stands right behind a string', raw: ['"a"b'], header_type: 'item', must_fail: true },
  { name: 'strings do not stand side by side', raw: ['"a" "b"'], header_type: 'item', must_fail: true },
  {
    name: 'a string that was cut by a comma of the join goes on behind it',
    raw: ['"a', 'b"'],
    header_type: 'item',
    expected: string('a, b'),
  },

  { name: 'bytes may be none', raw: ['::'], header_type: 'item', expected: bytes('') },
  { name: 'bytes are base64', raw: [':bG9uZ2hhdWw=:'], header_type: 'item', expected: bytes('longhaul') },
  { name: 'bytes may need no padding', raw: [':dXBsb2Fk:'], header_type: 'item', expected: bytes('upload') },
  { name: 'bytes may need two characters of padding', raw: [':YQ==:'], header_type: 'item', expected: bytes('a') },
  { name: 'bytes need not be text', raw: [':+/8A:'], header_type: 'item', expected: bytes([0xfb, 0xff, 0x00]) },
  { name: 'one character of padding may be absent', raw: [':bG9uZ2hhdWw:'], header_type: 'item', expected: bytes('longhaul') },
  { name: 'two characters of padding may be absent', raw: [':YQ:'], header_type: 'item', expected: bytes('a') },
  { name: 'the bits that are padded may be set', raw: [':YR==:'], header_type: 'item', expected: bytes('a') },
  { name: 'the bits that are padded may be set where the padding is absent', raw: [':YWF:'], header_type: 'item', expected: bytes('aa') },
  { name: 'padding is not half absent', raw: [':YQ=:'], header_type: 'item', must_fail: true },
  { name: 'padding pads', raw: [':=:'], header_type: 'item', must_fail: true },
  { name: 'whole groups have no padding', raw: [':dXBsb2Fk==:'], header_type: 'item', must_fail: true },
  { name: 'padding is not longer than its group', raw: [':YWE==:'], header_type: 'item', must_fail: true },
  { name: 'padding has two characters at most', raw: [':Y===:'], header_type: 'item', must_fail: true },
  { name: 'padding does not lead', raw: [':=YQ=:'], header_type: 'item', must_fail: true },
  { name: 'padding does not stand in the middle', raw: [':YQ==YQ==:'], header_type: 'item', must_fail: true },
  { name: 'one character of base64 is no byte', raw: [':Y:'], header_type: 'item', must_fail: true },
  { name: 'base64 has another alphabet than base64url', raw: [':-_8A:'], header_type: 'item', must_fail: true },
  { name: 'base64 has no spaces', raw: [':dXBs b2Fk:'], header_type: 'item', must_fail: true },
  { name: 'base64 has no lines', raw: [':dXBs\r\nb2Fk:'], header_type: 'item', must_fail: true },
  { name: 'bytes end', raw: [':dXBsb2Fk'], header_type: 'item', must_fail: true },
  { name: 'a colon alone is nothing', raw: [':'], header_type: 'item', must_fail: true },
  { name: 'a third colon is too many', raw: [':::'], header_type: 'item', must_fail: true },

  { name: 'a display string may be empty', raw: ['%""'], header_type: 'item', expected: display('') },
  {
    name: 'a display string holds plain ASCII as it is',
    raw: ['%"Half a report.pdf"'],
    header_type: 'item',
    expected: display('Half a report.pdf'),
  },
  { name: 'a display string decodes UTF-8 of two bytes', raw: ['%"Gr%c3%b6%c3%9fe"'], header_type: 'item', expected: display('Größe') },
  { name: 'a display string decodes UTF-8 of three bytes', raw: ['%"%e5%90%8d"'], header_type: 'item', expected: display('名') },
  { name: 'a display string decodes UTF-8 of four bytes', raw: ['%"%f0%9f%9a%9a"'], header_type: 'item', expected: display('🚚') },
  {
    name: 'a display string decodes up to the last code point',
    raw: ['%"%f4%8f%bf%bf"'],
    header_type: 'item',
    expected: display('\u{10ffff}'),
  },
  { name: 'a display string decodes quotes and percent signs', raw: ['%"%22100%25%22"'], header_type: 'item', expected: display('"100%"') },
  { name: 'a display string decodes controls', raw: ['%"%00%0a%7f"'], header_type: 'item', expected: display('\0\n\x7f') },
  { name: 'a display string keeps a byte order mark', raw: ['%"%ef%bb%bfa"'], header_type: 'item', expected: display('\ufeffa') },
  { name: 'a backslash in a display string is one', raw: ['%"a\\b\\\\"'], header_type: 'item', expected: display('a\\b\\\\') },
  {
    name: 'a display string may hold all of printable ASCII',
    raw: [`%"${printable('"%')}"`],
    header_type: 'item',
    expected: display(printable('"%')),
  },
  { name: 'a display string has lower-case digits', raw: ['%"%C3%B6"'], header_type: 'item', must_fail: true },
  { name: 'a display string has lower-case digits in either place', raw: ['%"%c3%bC"'], header_type: 'item', must_fail: true },
  { name: 'a display string has two digits behind a percent sign', raw: ['%"100%"'], header_type: 'item', must_fail: true },
  { name: 'a display string has hexadecimal digits', raw: ['%"%g0"'], header_type: 'item', must_fail: true },
  { name: 'one digit behind a percent sign is not enough', raw: ['%"%a"'], header_type: 'item', must_fail: true },
  { name: 'a display string has no lone byte of a sequence', raw: ['%"%b6"'], header_type: 'item', must_fail: true },
  { name: 'a display string has no sequence that is cut', raw: ['%"%e5%90"'], header_type: 'item', must_fail: true },
  { name: 'a display string has no sequence that is broken off', raw: ['%"%c3x"'], header_type: 'item', must_fail: true },
  { name: 'a display string has no overlong sequence', raw: ['%"%c0%af"'], header_type: 'item', must_fail: true },
  { name: 'a display string has no overlong sequence of three bytes', raw: ['%"%e0%80%af"'], header_type: 'item', must_fail: true },
  { name: 'a display string has no surrogates', raw: ['%"%ed%a0%bd%ed%ba%9a"'], header_type: 'item', must_fail: true },
  { name: 'a display string has no code point above the last', raw: ['%"%f4%90%80%80"'], header_type: 'item', must_fail: true },
  { name: 'a display string has no byte that UTF-8 does not use', raw: ['%"%ff"'], header_type: 'item', must_fail: true },
  { name: 'a display string is ASCII until it is decoded', raw: ['%"Größe"'], header_type: 'item', must_fail: true },
  { name: 'a display string has no tab', raw: ['%"a\tb"'], header_type: 'item', must_fail: true },
  { name: 'a display string has no DEL', raw: ['%"a\x7fb"'], header_type: 'item', must_fail: true },
  { name: 'a quote ends a display string, escaped or not', raw: ['%"a\\"b"'], header_type: 'item', must_fail: true },
  { name: 'a display string ends', raw: ['%"a'], header_type: 'item', must_fail: true },
  { name: 'a display string begins with a quote', raw: ['%a"'], header_type: 'item', must_fail: true },
  { name: 'a percent sign and its quote stand together', raw: ['% "a"'], header_type: 'item', must_fail: true },

  { name: 'parameters are dropped', raw: ['7;a=1;b="x";c'], header_type: 'item', expected: integer(7) },
  { name: 'spaces may stand behind a semicolon', raw: ['"x";   a=1;  b'], header_type: 'item', expected: string('x') },
  { name: 'a parameter may come twice', raw: ['?1;a=1;a=2'], header_type: 'item', expected: boolean(true) },
  {
    name: 'a parameter may hold any bare item',
    raw: ['t;a=1;b=2.5;c=@3;d=?0;e=f;g="h";i=:aQ==:;j=%"k"'],
    header_type: 'item',
    expected: token('t'),
  },
  { name: "a parameter's name may begin with a star", raw: ['7;*a=1'], header_type: 'item', expected: integer(7) },
  { name: "a parameter's name may have digits and punctuation", raw: ['7;a0_-.*=1'], header_type: 'item', expected: integer(7) },
  { name: 'spaces do not stand before a semicolon', raw: ['7 ;a'], header_type: 'item', must_fail: true },
  { name: 'tabs do not stand behind a semicolon', raw: ['7;\ta'], header_type: 'item', must_fail: true },
  { name: 'a parameter has a name', raw: ['7;'], header_type: 'item', must_fail: true },
  { name: 'a parameter has a name before its value', raw: ['7;=1'], header_type: 'item', must_fail: true },
  { name: 'parameters are separated by one semicolon', raw: ['7;;a'], header_type: 'item', must_fail: true },
  { name: 'a last semicolon is too many', raw: ['7;a;'], header_type: 'item', must_fail: true },
  { name: "a parameter's name is in lower case", raw: ['7;A=1'], header_type: 'item', must_fail: true },
  { name: "a parameter's name does not begin with a digit", raw: ['7;1a'], header_type: 'item', must_fail: true },
  { name: 'a parameter has a value behind its equals sign', raw: ['7;a='], header_type: 'item', must_fail: true },
  { name: 'a parameter and its value stand together', raw: ['7;a= 1'], header_type: 'item', must_fail: true },
  { name: 'a parameter is as strict as an item', raw: ['7;a=1.2345'], header_type: 'item', must_fail: true },
  { name: 'a parameter holds no list', raw: ['7;a=(1)'], header_type: 'item', must_fail: true },
  { name: 'parameters need a value to belong to', raw: [';a=1'], header_type: 'item', must_fail: true },

  { name: 'spaces may stand around an item', raw: ['   7   '], header_type: 'item', expected: integer(7) },
  { name: 'spaces may stand behind parameters', raw: ['7;a=1  '], header_type: 'item', expected: integer(7) },
  { name: 'tabs do not stand before an item', raw: ['\t7'], header_type: 'item', must_fail: true },
  { name: 'tabs do not stand behind an item', raw: ['7\t'], header_type: 'item', must_fail: true },
  { name: 'an item is not followed by a line', raw: ['7\n'], header_type: 'item', must_fail: true },
  { name: 'an item is not followed by a NUL', raw: ['7\0'], header_type: 'item', must_fail: true },
  { name: 'a no-break space is no space', raw: ['\u00a07'], header_type: 'item', must_fail: true },
  { name: 'a byte order mark is no space', raw: ['\ufeff7'], header_type: 'item', must_fail: true },
  { name: 'an empty text is no item', raw: [''], header_type: 'item', must_fail: true },
  { name: 'spaces are no item', raw: ['   '], header_type: 'item', must_fail: true },
  { name: 'an item comes once', raw: ['7', '7'], header_type: 'item', must_fail: true },
  { name: 'an item is not followed by an empty line of its field', raw: ['7', ''], header_type: 'item', must_fail: true },
  { name: 'an item is no list', raw: ['(7)'], header_type: 'item', must_fail: true },
  { name: 'an item is no brace', raw: ['{}'], header_type: 'item', must_fail: true },
]

const dictionaries: readonly Vector[] = [
  { name: 'an empty text is an empty dictionary', raw: [''], header_type: 'dictionary', expected: [] },
  { name: 'spaces are an empty dictionary', raw: ['   '], header_type: 'dictionary', expected: [] },
  { name: 'a dictionary may have one member', raw: ['max-size=1000'], header_type: 'dictionary', expected: [['max-size', integer(1000)]] },
  {
    name: 'a dictionary keeps the order of its members',
    raw: ['max-size=9, min-size=1, expires=60'],
    header_type: 'dictionary',
    expected: [
      ['max-size', integer(9)],
      ['min-size', integer(1)],
      ['expires', integer(60)],
    ],
  },
  {
    name: 'a dictionary may hold every type',
    raw: ['a=1, b=-2.5, c=@3, d=?0, e=f/g, h="i", j=:aw==:, l=%"%c3%a9", m=(1 n)'],
    header_type: 'dictionary',
    expected: [
      ['a', integer(1)],
      ['b', decimal(-2.5)],
      ['c', date(3)],
      ['d', boolean(false)],
      ['e', token('f/g')],
      ['h', string('i')],
      ['j', bytes('k')],
      ['l', display('é')],
      ['m', list],
    ],
  },
  { name: 'a key alone is true', raw: ['a'], header_type: 'dictionary', expected: [['a', boolean(true)]] },
  {
    name: 'keys alone may stand anywhere',
    raw: ['a, b=2, c'],
    header_type: 'dictionary',
    expected: [
      ['a', boolean(true)],
      ['b', integer(2)],
      ['c', boolean(true)],
    ],
  },
  {
    name: 'a key alone may have parameters',
    raw: ['a;x=1;y, b'],
    header_type: 'dictionary',
    expected: [
      ['a', boolean(true)],
      ['b', boolean(true)],
    ],
  },
  {
    name: 'parameters of members are dropped',
    raw: ['a=1;x=2, b="c";y'],
    header_type: 'dictionary',
    expected: [
      ['a', integer(1)],
      ['b', string('c')],
    ],
  },
  { name: 'a key may be a star', raw: ['*=1'], header_type: 'dictionary', expected: [['*', integer(1)]] },
  { name: 'a key may have digits and punctuation', raw: ['a0_-.*=1'], header_type: 'dictionary', expected: [['a0_-.*', integer(1)]] },
  {
    name: 'a key may be the name of what objects inherit',
    raw: ['constructor=1, *__proto__=2'],
    header_type: 'dictionary',
    expected: [
      ['constructor', integer(1)],
      ['*__proto__', integer(2)],
    ],
  },
  {
    name: 'a last value counts, in the place of the first',
    raw: ['a=1, b=2, a=3'],
    header_type: 'dictionary',
    expected: [
      ['a', integer(3)],
      ['b', integer(2)],
    ],
  },
  { name: 'a last value may be of another type', raw: ['a=(1 2), a'], header_type: 'dictionary', expected: [['a', boolean(true)]] },
  { name: 'a first value must be well-formed though the last counts', raw: ['a=!, a=3'], header_type: 'dictionary', must_fail: true },
  {
    name: 'no space is needed around commas',
    raw: ['a=1,b,c=3'],
    header_type: 'dictionary',
    expected: [
      ['a', integer(1)],
      ['b', boolean(true)],
      ['c', integer(3)],
    ],
  },
  {
    name: 'spaces and tabs may stand around commas',
    raw: ['a=1 \t , \t b=2'],
    header_type: 'dictionary',
    expected: [
      ['a', integer(1)],
      ['b', integer(2)],
    ],
  },
  { name: 'spaces may stand around a dictionary', raw: ['  a=1  '], header_type: 'dictionary', expected: [['a', integer(1)]] },
  { name: 'tabs may stand behind the last member', raw: ['a=1 \t'], header_type: 'dictionary', expected: [['a', integer(1)]] },
  { name: 'tabs do not stand before the first member', raw: ['\ta=1'], header_type: 'dictionary', must_fail: true },
  { name: 'tabs are no empty dictionary', raw: ['\t'], header_type: 'dictionary', must_fail: true },
  {
    name: 'lines of a field are one dictionary',
    raw: ['a=1', 'b=2, c', 'a=4'],
    header_type: 'dictionary',
    expected: [
      ['a', integer(4)],
      ['b', integer(2)],
      ['c', boolean(true)],
    ],
  },
  { name: 'lines of a field are not empty between others', raw: ['a=1', '', 'b=2'], header_type: 'dictionary', must_fail: true },
  { name: 'lines of a field do not end in a comma', raw: ['a=1,', 'b=2'], header_type: 'dictionary', must_fail: true },
  { name: 'a dictionary does not end in a comma', raw: ['a=1,'], header_type: 'dictionary', must_fail: true },
  { name: 'a dictionary does not end in a comma and spaces', raw: ['a=1, \t'], header_type: 'dictionary', must_fail: true },
  { name: 'a dictionary does not begin with a comma', raw: [',a=1'], header_type: 'dictionary', must_fail: true },
  { name: 'a comma alone is nothing', raw: [','], header_type: 'dictionary', must_fail: true },
  { name: 'commas do not stand side by side', raw: ['a=1,,b=2'], header_type: 'dictionary', must_fail: true },
  { name: 'members are separated by commas, not by spaces', raw: ['a=1 b=2'], header_type: 'dictionary', must_fail: true },
  { name: 'a semicolon begins a parameter, not a member', raw: ['a=1;b=2;c'], header_type: 'dictionary', expected: [['a', integer(1)]] },
  { name: 'a key is in lower case', raw: ['Max-Size=1'], header_type: 'dictionary', must_fail: true },
  { name: 'a key has no upper case in the middle', raw: ['maxSize=1'], header_type: 'dictionary', must_fail: true },
  { name: 'a key does not begin with a digit', raw: ['1a=1'], header_type: 'dictionary', must_fail: true },
  { name: 'a key does not begin with a hyphen', raw: ['-a=1'], header_type: 'dictionary', must_fail: true },
  { name: 'a key does not begin with an underscore', raw: ['__proto__=1'], header_type: 'dictionary', must_fail: true },
  { name: 'a key is not quoted', raw: ['"a"=1'], header_type: 'dictionary', must_fail: true },
  { name: 'a key is ASCII', raw: ['größe=1'], header_type: 'dictionary', must_fail: true },
  { name: 'a key has no exclamation mark', raw: ['a!=1'], header_type: 'dictionary', must_fail: true },
  { name: 'a member has a key', raw: ['=1'], header_type: 'dictionary', must_fail: true },
  { name: 'a member has a value behind its equals sign', raw: ['a='], header_type: 'dictionary', must_fail: true },
  { name: 'a member has a value behind its equals sign, with others behind', raw: ['a=, b=2'], header_type: 'dictionary', must_fail: true },
  { name: 'a member has one equals sign', raw: ['a==1'], header_type: 'dictionary', must_fail: true },
  { name: 'a key and its equals sign stand together', raw: ['a =1'], header_type: 'dictionary', must_fail: true },
  { name: 'a value and its equals sign stand together', raw: ['a= 1'], header_type: 'dictionary', must_fail: true },
  { name: 'one malformed member spoils a dictionary', raw: ['a=1, b=1.2345, c=3'], header_type: 'dictionary', must_fail: true },
  { name: 'a malformed parameter spoils a dictionary', raw: ['a=1;x=, b=2'], header_type: 'dictionary', must_fail: true },
  { name: 'a malformed parameter of a key alone spoils a dictionary', raw: ['a;, b=2'], header_type: 'dictionary', must_fail: true },
  {
    name: 'a comma in a string separates nothing',
    raw: ['a="1, b=2", c=3'],
    header_type: 'dictionary',
    expected: [
      ['a', string('1, b=2')],
      ['c', integer(3)],
    ],
  },

  { name: 'an inner list may be empty', raw: ['a=()'], header_type: 'dictionary', expected: [['a', list]] },
  { name: 'an inner list may be spaces', raw: ['a=(   )'], header_type: 'dictionary', expected: [['a', list]] },
  {
    name: 'an inner list may hold every type',
    raw: ['a=(1 2.5 @3 ?1 t "s" :Yg==: %"d"), b=2'],
    header_type: 'dictionary',
    expected: [
      ['a', list],
      ['b', integer(2)],
    ],
  },
  { name: 'an inner list may have spaces within', raw: ['a=(  1   2  )'], header_type: 'dictionary', expected: [['a', list]] },
  {
    name: 'an inner list and its items may have parameters',
    raw: ['a=(1;x 2;y=3);z="4", b'],
    header_type: 'dictionary',
    expected: [
      ['a', list],
      ['b', boolean(true)],
    ],
  },
  { name: 'a bracket in a string ends no inner list', raw: ['a=(")" 1)'], header_type: 'dictionary', expected: [['a', list]] },
  { name: 'an inner list ends', raw: ['a=(1 2'], header_type: 'dictionary', must_fail: true },
  { name: 'an inner list ends though it is empty', raw: ['a=('], header_type: 'dictionary', must_fail: true },
  { name: 'an inner list ends though spaces follow', raw: ['a=(1 '], header_type: 'dictionary', must_fail: true },
  { name: 'an inner list ends once', raw: ['a=(1))'], header_type: 'dictionary', must_fail: true },
  { name: 'an inner list begins', raw: ['a=1)'], header_type: 'dictionary', must_fail: true },
  { name: 'an inner list has no commas', raw: ['a=(1, 2)'], header_type: 'dictionary', must_fail: true },
  { name: 'an inner list has no tabs', raw: ['a=(1\t2)'], header_type: 'dictionary', must_fail: true },
  { name: 'items of an inner list do not stand side by side', raw: ['a=("x""y")'], header_type: 'dictionary', must_fail: true },
  { name: 'items of an inner list are as strict as others', raw: ['a=(1.2345)'], header_type: 'dictionary', must_fail: true },
  { name: 'parameters in an inner list belong to an item', raw: ['a=(1 ;x)'], header_type: 'dictionary', must_fail: true },
  { name: 'an inner list holds no inner list', raw: ['a=((1))'], header_type: 'dictionary', must_fail: true },
  { name: 'an inner list holds no members', raw: ['a=(b=1)'], header_type: 'dictionary', must_fail: true },
  { name: 'a malformed parameter spoils an inner list', raw: ['a=(1);'], header_type: 'dictionary', must_fail: true },
  { name: 'nothing stands right behind an inner list', raw: ['a=(1)b'], header_type: 'dictionary', must_fail: true },
  { name: 'an inner list has a key', raw: ['(1)'], header_type: 'dictionary', must_fail: true },
]

for (const vector of [...items, ...dictionaries]) {
  test(`${vector.name}: ${JSON.stringify(vector.raw).slice(1, -1)} as ${vector.header_type}`, () => {
    const text = vector.raw.join(', ')
    const read = vector.header_type === 'item' ? parseItem(text) : parseDictionary(text)
    if ('must_fail' in vector) assert.equal(read, undefined)
    else assert.deepEqual(read instanceof Map ? [...read] : read, vector.expected)
  })
}

test('an integer and a boolean are read where one is expected, and nothing else is', () => {
  assert.equal(parseInteger(' -12;a '), -12)
  assert.equal(parseInteger('-0'), 0)
  assert.equal(parseBoolean('?1;a'), true)
  assert.equal(parseBoolean('?0'), false)
  for (const text of ['', '1.0', '@1', '"1"', '?1', 'a', ':MQ==:', '1, 1', '1a']) assert.equal(parseInteger(text), undefined)
  for (const text of ['', '1', '0', 'true', '"?1"', '?', '?1?1', '?1, ?1', '?01']) assert.equal(parseBoolean(text), undefined)
})

test('a dictionary is written with a comma and a space between its members', () => {
  assert.equal(formatDictionary([]), '')
  assert.equal(formatDictionary([['max-size', 1000], ['id', Buffer.from('hello')]]), 'max-size=1000, id=:aGVsbG8=:')
  assert.equal(formatDictionary(new Map([['a', -0], ['*', -999_999_999_999_999]])), 'a=0, *=-999999999999999')
  assert.equal(formatDictionary([['a', new Uint8Array()], ['b', new Uint8Array([1, 2, 3, 4]).subarray(1, 3)]]), 'a=::, b=:AgM=:')
  assert.equal(formatDictionary([['a', 1], ['b', 2], ['a', 3]]), 'a=3, b=2')
})

test('what is no key and what is no integer of fifteen digits is not written', () => {
  for (const key of ['', 'A', 'a b', 'a=1', 'a,b', '1', '-a', '__proto__', 'größe', 'a\r\nb', 'a ']) {
    const message = `Cannot write a dictionary as a key must match [a-z*][a-z0-9_\\-.*]*: received ${JSON.stringify(key)}`
    assert.throws(() => formatDictionary([['a', 1], [key, 1]]), new RangeError(message))
  }
  for (const value of [1_000_000_000_000_000, -1_000_000_000_000_000, 0.5, NaN, Infinity, -Infinity, 1e300]) {
    const message = `Cannot write a dictionary as max-size must be an integer of at most 15 digits: received ${value}`
    assert.throws(() => formatDictionary([['max-size', value]]), new RangeError(message))
  }
})

const fifteenDigits = fc.integer({ min: -999_999_999_999_999, max: 999_999_999_999_999 })
const key = fc.oneof(fc.stringMatching(/^[a-z*][a-z0-9_\-.*]{0,12}$/), fc.constantFrom('constructor', 'valueof', 'then', 'max-size'))
const value = fc.oneof(fifteenDigits, fc.uint8Array().map((each) => Buffer.from(each)))

test('a dictionary that was written is read back the same, in the same order', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.tuple(key, value), { selector: ([name]) => name }), (members) => {
      const text = formatDictionary(members)
      assert.match(text, /^[\x20-\x7e]*$/)
      const expected = members.map(([name, each]) => [name, typeof each === 'number' ? integer(each) : { type: 'bytes', value: each }])
      assert.deepEqual([...(parseDictionary(text) ?? assert.fail(text))], expected)
    }),
  )
})

test('every integer of fifteen digits is read back as it was written', () => {
  fc.assert(fc.property(fifteenDigits, (each) => assert.equal(parseInteger(String(each)), each)), { numRuns: 1000 })
})

test('no integer of more digits is read', () => {
  fc.assert(
    fc.property(fc.bigInt(10n ** 15n, 10n ** 40n), fc.constantFrom('', '-'), (each, sign) =>
      assert.equal(parseItem(`${sign}${each}`), undefined),
    ),
  )
})

test('every text whatsoever is a display string and back', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const encoded = Array.from(Buffer.from(text), (byte) => `%${byte.toString(16).padStart(2, '0')}`).join('')
      assert.deepEqual(parseItem(`%"${encoded}"`), display(text))
    }),
  )
})

/** Bare items, as they are written and as they are read. */
const bare: fc.Arbitrary<readonly [text: string, read: BareItem]> = fc.oneof(
  fifteenDigits.map((each) => [String(each), integer(each)] as const),
  fifteenDigits.map((each) => [`@${each}`, date(each)] as const),
  fc
    .tuple(fc.integer({ min: -999_999_999_999, max: 999_999_999_999 }), fc.stringMatching(/^[0-9]{1,3}$/))
    .map(([whole, fraction]) => [`${whole}.${fraction}`, decimal(Number(`${whole}.${fraction}`))] as const),
  fc.boolean().map((each) => [each ? '?1' : '?0', boolean(each)] as const),
  fc.stringMatching(/^[A-Za-z*][A-Za-z0-9!#$%&'*+\-.^_`|~:/]{0,8}$/).map((each) => [each, token(each)] as const),
  fc.string({ unit: 'grapheme-ascii' }).map((each) => [`"${each.replace(/["\\]/g, '\\$&')}"`, string(each)] as const),
  fc
    .uint8Array({ maxLength: 8 })
    .map((each) => [`:${Buffer.from(each).toString('base64')}:`, { type: 'bytes', value: Buffer.from(each) }] as const),
)
const parameter = fc
  .tuple(fc.constantFrom('', ' ', '  '), key, fc.option(bare))
  .map(([space, name, item]) => `;${space}${name}${item ? `=${item[0]}` : ''}`)
const parameters = fc.array(parameter, { maxLength: 2 }).map((each) => each.join(''))
const item = fc.tuple(bare, parameters).map(([[text, read], rest]) => [text + rest, read] as const)
const innerList = fc
  .tuple(fc.array(item, { maxLength: 3 }), fc.constantFrom(' ', '  '), parameters)
  .map(([each, space, rest]) => [`(${each.map(([text]) => text).join(space)})${rest}`, list] as const)
const member = fc.oneof(
  fc
    .tuple(key, fc.oneof({ weight: 4, arbitrary: item }, innerList))
    .map(([name, [text, read]]) => [`${name}=${text}`, [name, read]] as const),
  fc.tuple(key, parameters).map(([name, rest]) => [name + rest, [name, boolean(true)]] as const),
)
const comma = fc
  .tuple(fc.constantFrom('', ' ', '\t ', '  '), fc.constantFrom('', ' ', ' \t'))
  .map(([before, behind]) => `${before},${behind}`)

test('whatever the grammar allows is read, member by member', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(comma, member)), (members) => {
      const text = members.map(([separator, [text]], index) => (index === 0 ? text : separator + text)).join('')
      assert.deepEqual(parseDictionary(text), new Map(members.map(([, [, entry]]) => entry)))
    }),
    { numRuns: 1000 },
  )
})

test('an item alone and the same item as a member are the same, or both are malformed', () => {
  const nearlyItems = fc.string({ unit: fc.constantFrom(...'019-.@?"\\:%;=aZ*/ +c3', '%c3', '%a9') })
  fc.assert(
    fc.property(fc.oneof(nearlyItems, item.map(([text]) => text)), (text) => {
      if (text.startsWith(' ')) return
      const members = parseDictionary(`a=${text}`)
      assert.deepEqual(members?.get('a'), parseItem(text))
    }),
    { numRuns: 5000 },
  )
})

test('an oracle agrees about every text that is nearly an integer or a boolean', () => {
  const nearlyNumbers = fc.string({ unit: fc.constantFrom(...'0123456789', '-', ' ', '.', '?', '1234567', '\t', '٣'), maxLength: 12 })
  const nearlyBooleans = fc.string({ unit: fc.constantFrom('?', '0', '1', ' ', '?1', '\t'), maxLength: 4 })
  fc.assert(
    fc.property(fc.oneof(nearlyNumbers, nearlyBooleans), (text) => {
      const digits = /^ *(-?)([0-9]{1,15}) *$/.exec(text)
      assert.equal(parseInteger(text), digits ? Number(BigInt(digits[2]!) * (digits[1] ? -1n : 1n)) : undefined)
      const bit = /^ *\?([01]) *$/.exec(text)
      assert.equal(parseBoolean(text), bit ? bit[1] === '1' : undefined)
    }),
    { numRuns: 20_000 },
  )
})

test('any text is a value, a dictionary, or malformed; nothing throws', () => {
  const nearlyFields = fc.string({
    unit: fc.constantFrom(...'ab*Z019-._"\\:;=,()?@%!/+ \t\r\n\0é\x7f', '%c3', '%"', '\\"', 'a=', '==:', '; ', '\ud83d'),
  })
  const types = ['integer', 'decimal', 'date', 'boolean', 'string', 'token', 'display-string', 'bytes']
  fc.assert(
    fc.property(fc.oneof(nearlyFields, fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme' })), (text) => {
      const read = parseItem(text)
      const members = parseDictionary(text)
      assert.ok(read === undefined || types.includes(read.type))
      for (const [name, each] of members ?? []) {
        assert.match(name, /^[a-z*][a-z0-9_\-.*]*$/)
        assert.ok(each.type === 'inner-list' || types.includes(each.type))
      }
      if (read !== undefined || (members?.size ?? 0) > 0) assert.match(text, /^[\x20-\x7e\t]*$/)
    }),
    { numRuns: 20_000 },
  )
})

const size = 64 * 1024
const large: readonly (readonly [what: string, text: string, item: string | undefined, members: number | undefined])[] = [
  ['spaces', ' '.repeat(size), undefined, 0],
  ['tabs', '\t'.repeat(size), undefined, undefined],
  ['spaces that something follows', `a${' '.repeat(size)}!`, undefined, undefined],
  ['spaces and tabs that something follows', `a${' \t'.repeat(size / 2)}!`, undefined, undefined],
  ['digits', '9'.repeat(size), undefined, undefined],
  ['signs', '-'.repeat(size), undefined, undefined],
  ['points', `1${'.'.repeat(size)}`, undefined, undefined],
  ['stars', '*'.repeat(size), 'token', 1],
  ['stars that something follows', `${'*'.repeat(size)}"`, undefined, undefined],
  ['quotes', '"'.repeat(size), undefined, undefined],
  ['a string', `"${'a'.repeat(size)}"`, 'string', undefined],
  ['a string without its end', `"${'a'.repeat(size)}`, undefined, undefined],
  ['escapes', `"${'\\"'.repeat(size / 2)}"`, 'string', undefined],
  ['escapes without an end', `"${'\\\\'.repeat(size / 2)}`, undefined, undefined],
  ['bytes', `:${'AAAA'.repeat(size / 4)}:`, 'bytes', undefined],
  ['bytes without their end', `:${'A'.repeat(size)}`, undefined, undefined],
  ['padding', `:${'='.repeat(size)}:`, undefined, undefined],
  ['colons', ':'.repeat(size), undefined, undefined],
  ['a display string', `%"${'%c3%a9'.repeat(size / 8)}"`, 'display-string', undefined],
  ['a display string without its end', `%"${'%c3%a9'.repeat(size / 8)}`, undefined, undefined],
  ['a display string that ends badly', `%"${'%c3%a9'.repeat(size / 8)}%c3"`, undefined, undefined],
  ['parameters', `a${';a=1'.repeat(size / 4)}`, 'token', 1],
  ['parameters that end badly', `a${'; a'.repeat(size / 3)};`, undefined, undefined],
  ['semicolons', `a${';'.repeat(size)}`, undefined, undefined],
  ['members of one key', `${'a,'.repeat(size / 2)}a`, undefined, 1],
  ['members of many keys', Array.from({ length: size / 8 }, (_, n) => `k${n}=1`).join(), undefined, size / 8],
  ['members that end badly', 'a=1,'.repeat(size / 4), undefined, undefined],
  ['commas', ','.repeat(size), undefined, undefined],
  ['equals signs', `a${'='.repeat(size)}`, undefined, undefined],
  ['an inner list', `a=(${'1 '.repeat(size / 2)})`, undefined, 1],
  ['an inner list without its end', `a=(${'1 '.repeat(size / 2)}`, undefined, undefined],
  ['an inner list of spaces without its end', `a=(${' '.repeat(size)}`, undefined, undefined],
  ['inner lists within each other', `a=${'('.repeat(size / 2)}${')'.repeat(size / 2)}`, undefined, undefined],
]

for (const [what, text, type, members] of large) {
  test(`64 KB of a field are no more than a field: ${what}`, () => {
    assert.equal(parseItem(text)?.type, type)
    assert.equal(parseDictionary(text)?.size, members)
  })
}

test('text that is longer than any stack of a pattern is read as well', () => {
  const long = 'a'.repeat(32 * 1024 * 1024)
  assert.equal(parseItem(`"${long}"`)?.type, 'string')
  assert.equal(parseItem(`%"${long}"`)?.type, 'display-string')
  assert.equal(parseItem(`:${long}:`)?.type, 'bytes')
  assert.equal(parseItem(long)?.type, 'token')
  assert.equal(parseItem(`"${long}`), undefined)
  assert.equal(parseItem(`:${long}`), undefined)
})

test('the file imports nothing', () => {
  const text = readFileSync(new URL('../../lib/rufh/structured-fields.ts', import.meta.url), 'utf8')
  const code = text.replace(/\/\*[^]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '')
  assert.doesNotMatch(code, /\bimport\b|\brequire\b|\bfrom\s+['"]/)
})

/** The printable characters of ASCII, but for some. */
function printable(without: string): string {
  return Array.from({ length: 0x7f - 0x20 }, (_, index) => String.fromCharCode(0x20 + index))
    .filter((character) => !without.includes(character))
    .join('')
}
