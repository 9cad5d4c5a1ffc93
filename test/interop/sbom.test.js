// SPDX-License-Identifier: MIT

/** The bill of materials, as CycloneDX's own validator reads it. @module */

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { Spec, Validation } from '@cyclonedx/cyclonedx-library'

const root = new URL('../../', import.meta.url)
const text = readFileSync(new URL('lib/sbom.cdx.json', root), 'utf8')
const { name, version, license } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8'))
const validator = new Validation.JsonStrictValidator(Spec.Version.v1dot6)

test('the bill of materials is valid CycloneDX 1.6, and its validator refuses what is not', async () => {
  assert.equal(await validator.validate(text), null)
  for (const [from, to] of [['"library"', '"book"'], ['"MIT"', '"MYT"'], ['"complete"', '"all"'], ['"components"', '"parts"']]) {
    assert.ok(text.includes(from))
    assert.notEqual(await validator.validate(text.replace(from, to)), null, to)
  }
})

test('it is about this version, and says that nothing else is in it', () => {
  const { metadata, components, dependencies, compositions } = JSON.parse(text)
  const purl = `pkg:npm/${name}@${version}`
  assert.equal(metadata.component.purl, purl)
  assert.deepEqual(metadata.component.licenses, [{ license: { id: license } }])
  assert.deepEqual(components, [])
  assert.deepEqual(dependencies, [{ ref: purl, dependsOn: [] }])
  assert.deepEqual(compositions, [{ aggregate: 'complete', dependencies: [purl] }])
})
