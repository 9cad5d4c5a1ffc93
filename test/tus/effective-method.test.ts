// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { effectiveMethod } from '../../lib/tus/effective-method.ts'

const rows: readonly (readonly [method: string, override: string | undefined, meant: string | undefined])[] = [
  ['PATCH', undefined, 'PATCH'],
  ['POST', 'PATCH', 'PATCH'],
  ['POST', 'DELETE', 'DELETE'],
  ['GET', 'HEAD', 'HEAD'],
  ['DELETE', 'HEAD', 'HEAD'],
  ['POST', 'patch', 'patch'],
  ['POST', 'FOO', 'FOO'],
  ['POST', '__proto__', '__proto__'],
  ['POST', '', undefined],
  ['POST', ' ', undefined],
  ['POST', 'PATCH ', undefined],
  ['POST', 'PATCH, PATCH', undefined],
  ['POST', 'PATCH,DELETE', undefined],
  ['POST', 'PATCH\r\nX: y', undefined],
  ['POST', 'PÄTCH', undefined],
]

for (const [method, override, meant] of rows) {
  test(`${method} overridden by ${JSON.stringify(override)} means ${meant ?? 'nothing: it is malformed'}`, () => {
    assert.equal(effectiveMethod(method, override), meant)
  })
}

test('an override that is one token is what counts, whatever the actual method', () => {
  const token = fc.string({ unit: fc.constantFrom(..."!#$%&'*+-.^_`|~09AZaz"), minLength: 1 })
  fc.assert(fc.property(fc.string(), token, (method, override) => assert.equal(effectiveMethod(method, override), override)))
})

test('without an override the actual method counts, whatever it is', () => {
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (method) => assert.equal(effectiveMethod(method, undefined), method)))
})

test('any other override is malformed; it is never mistaken for absent', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (override) => {
      const meant = effectiveMethod('POST', override)
      if (/^[!#$%&'*+\-.^_`|~\dA-Z]+$/i.test(override)) assert.equal(meant, override)
      else assert.equal(meant, undefined)
    }),
    { numRuns: 1000 },
  )
})
