// SPDX-License-Identifier: MIT

/** What lib/NODE.md, CONTRIBUTING.md and test/README.md point to is there. */

import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { ROOT } from './support/examples.ts'

const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8')

/** Whether a file has a test of this name. */
const hasTest = (path: string, name: string): boolean => ["'", '"', '`', '} '].some((quote) => read(path).includes(quote + name))

/** What a text cites: files, perhaps with the name of a test in them, and links. */
const CITED = /`((?:test|lib|bench)\/[\w./-]+)`(?: "([^"]+)")?|"([^"]+)"|\[[^\]]+\]\(([^)]+)\)/g

test('each fact about Node names a test that exists, or a page that shows it', () => {
  const text = read('lib/NODE.md')
  const facts = text.split(/\n(?=\d+\. |## |$)/).filter((part) => /^\d+\. /.test(part)).map((part) => part.replace(/\s+/g, ' '))
  assert.ok(facts.length > 50)
  const shown = new Set<string>()
  for (const [index, fact] of facts.entries()) {
    assert.ok(fact.startsWith(`${index + 1}. `), `the number of: ${fact}`)
    const cited = Array.from(fact.slice(fact.lastIndexOf(' → ')).matchAll(CITED))
    assert.ok(fact.includes(' → ') && cited.length > 0, `nothing shows: ${fact}`)
    for (const [, path, name, own, link] of cited) {
      if (path) assert.ok(existsSync(join(ROOT, path)) && (name === undefined || hasTest(path, name)), `${path} "${name}" of: ${fact}`)
      if (own) assert.ok(hasTest('test/node-facts.test.ts', own), `"${own}" is no test of test/node-facts.test.ts`)
      if (own) shown.add(own)
      if (link) assert.ok(/^https:/.test(link) || existsSync(join(ROOT, 'lib', link)), `${link} of: ${fact}`)
    }
  }
  const tests = Array.from(read('test/node-facts.test.ts').matchAll(/^test\('([^']+)'/gm), ([, name]) => name!)
  assert.deepEqual(tests.filter((name) => !shown.has(name)), [], 'tests of facts that lib/NODE.md does not have')
})

test('CONTRIBUTING.md is one page, and what it names is there', () => {
  const text = read('CONTRIBUTING.md')
  assert.ok(text.split('\n').length <= 110)
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
  for (const [, script = ''] of text.matchAll(/npm run ([\w:]+)/g)) assert.ok(scripts[script], `npm run ${script}`)
  for (const [, path = ''] of text.matchAll(/(?<![\w/])((?:lib|test|bench|\.ci)\/[\w./*-]*)/g)) {
    assert.ok(path.includes('*') || existsSync(join(ROOT, path)), `CONTRIBUTING.md names ${path}`)
  }
  for (const [, list = ''] of text.matchAll(/npm run test:fault -- ([\w -]+)`/g)) {
    for (const name of list.split(' ')) assert.ok(existsSync(join(ROOT, `test/fault/${name}.test.ts`)), `there is no campaign ${name}`)
  }
  const folders = readdirSync(join(ROOT, 'lib'), { withFileTypes: true }).filter((entry) => entry.isDirectory())
  for (const { name } of folders) assert.ok(text.includes(`\`lib/${name}/\``), `CONTRIBUTING.md says nothing of lib/${name}`)
})

test('the way of a request goes through functions that are there', () => {
  const steps = Array.from(read('CONTRIBUTING.md').matchAll(/^\| \d \| `([^`]+)` \| `([^`]+)` \|/gm))
  assert.equal(steps.length, 8)
  for (const [, path = '', name = ''] of steps) {
    assert.match(read(path), new RegExp(`\\bfunction ${name}\\b|\\bconst ${name} = `), `${name} of ${path}`)
  }
})

test('test/README.md names every folder of tests, and no test that is not there', () => {
  const text = read('test/README.md')
  const cells = Array.from(
    text
      .slice(0, text.indexOf('## The other folders'))
      .matchAll(/^\| (?:.*\bprimitive|`?(?:upload|http|tus|rufh|download|cli)\/|a document).* \| (.+) \|$/gm),
    ([, cell = '']) => cell,
  )
  assert.ok(cells.length > 20)
  const names = Array.from(cells.join(' ').matchAll(/`((?:[a-z]+\/)?[a-z0-9-]+)`/g), ([, name = '']) => name)
  for (const name of names) {
    const found = ['ts', 'js'].some(
      (ending) => existsSync(join(ROOT, `test/${name}.test.${ending}`)) || existsSync(join(ROOT, `test/${name}.${ending}`)),
    )
    assert.ok(found, `there is no test ${name}`)
  }
  for (const [, path = ''] of text.matchAll(/`((?:support|tus|rufh)\/[\w-]+\.(?:ts|md))`/g)) {
    assert.ok(existsSync(join(ROOT, 'test', path)), path)
  }
  for (const { name } of readdirSync(join(ROOT, 'test'), { withFileTypes: true }).filter((entry) => entry.isDirectory())) {
    assert.ok(text.includes(`\`${name}/`), `test/README.md says nothing of test/${name}`)
  }
})
