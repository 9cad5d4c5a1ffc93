// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { builtinModules } from 'node:module'
import { dirname, join, normalize } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { ROOT } from './support/examples.ts'
import { linesOfCode, PRIMITIVES, primitiveOf } from './support/manifest.ts'

const run = promisify(execFile)
const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
const sources = readdirSync(join(ROOT, 'lib'), { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'))
const primitives = PRIMITIVES.flatMap((unit) => unit.files)

/** A source without its comments, and what it imports or re-exports. */
function read(name: string): { readonly code: string; readonly imports: readonly string[] } {
  const code = readFileSync(join(ROOT, 'lib', name), 'utf8').replace(/\/\*[^]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '')
  const statements = code.matchAll(/^(?:import|export)\s[^'"]*?\sfrom\s+['"]([^'"]+)['"]|^import\s+['"]([^'"]+)['"]/gm)
  return { code, imports: Array.from(statements, ([, from, bare]) => from ?? bare ?? '') }
}

// A primitive that is a folder also imports files of that folder.
test('a primitive imports builtins of Node only, each by its node: name', () => {
  assert.ok(PRIMITIVES.length >= 8)
  for (const name of primitives) {
    const { code, imports } = read(name)
    for (const specifier of imports) {
      if (specifier.startsWith('./') && primitives.includes(name) && dirname(name) !== '.') {
        assert.equal(dirname(normalize(join(dirname(name), specifier))), dirname(name), `lib/${name} imports ${specifier}`)
        continue
      }
      assert.ok(specifier.startsWith('node:') && builtinModules.includes(specifier.slice(5)), `lib/${name} imports ${specifier}`)
    }
    assert.doesNotMatch(code, /\bimport\s*\(|\brequire\s*\(/, `lib/${name} imports at run time`)
  }
  for (const { files } of PRIMITIVES) {
    const words = files.length === 1 && dirname(files[0]!) === '.' ? /Self-contained: this file/ : /Self-contained: this folder/
    assert.match(readFileSync(join(ROOT, 'lib', files[0]!), 'utf8'), words)
  }
})

test('a file directly in lib is a primitive, but for upload-handler.ts, which puts the two protocols together', () => {
  const others = sources.filter((name) => dirname(name) === '.' && !primitives.includes(name))
  assert.deepEqual(others.sort(), ['index.ts', 'upload-handler.ts'])
})

test('imports point one way: cli to upload-handler to tus and rufh, side by side, to http, download and upload, and to primitives', () => {
  const layers = ['primitive', 'upload', 'download', 'http', 'tus', 'upload-handler.ts', 'cli']
  const layerIn = (name: string): number => layers.indexOf(layerOf(name) === 'rufh' ? 'tus' : layerOf(name))
  const layerOf = (name: string): string => {
    if (primitives.includes(name)) return 'primitive'
    return dirname(name) === '.' ? name : dirname(name)
  }
  for (const name of sources.filter((source) => source !== 'index.ts')) {
    for (const specifier of read(name).imports.filter((imported) => !imported.startsWith('node:'))) {
      const imported = normalize(join(dirname(name), specifier))
      assert.ok(sources.includes(imported), `lib/${name} imports ${specifier}, which is not a source of ours`)
      assert.notEqual(imported, 'index.ts', `lib/${name} imports the index`)
      const [from, to] = [layerIn(name), layerIn(imported)]
      assert.ok(from >= 0 && to >= 0 && (to < from || dirname(name) === dirname(imported)), `lib/${name} must not import ${specifier}`)
    }
  }
})

test('the core knows no header of any protocol', () => {
  for (const name of sources.filter((source) => source.startsWith('upload/'))) {
    assert.doesNotMatch(
      read(name).code,
      /['"`](?:upload|tus|content|repr|want|accept|x)-[a-z-]+['"`]|Upload-|Tus-|-Digest\b|octet-stream|partial-upload|\b104\b/i,
      `lib/${name} names a header`,
    )
  }
})

/** What is used of `process`, by source: the store marks its directory with its process, and asks whether others live. */
const USED_OF_PROCESS: { readonly any: readonly string[]; readonly [name: string]: readonly string[] | undefined } = {
  any: ['platform', 'on', 'off'],
  'file-store': ['platform', 'pid', 'kill', 'permission'],
}

test('nothing but the program writes to the console, ends the process or reads its environment', () => {
  for (const name of sources.filter((source) => !source.startsWith('cli/'))) {
    const { code, imports } = read(name)
    assert.doesNotMatch(code, /\bconsole\.|\beval\b|\bFunction\s*\(/, `lib/${name}`)
    for (const [, member] of code.matchAll(/\bprocess\.(\w+)/g)) {
      assert.ok((USED_OF_PROCESS[dirname(name)] ?? USED_OF_PROCESS.any).includes(member!), `lib/${name} uses process.${member}`)
    }
    for (const [, signal] of code.matchAll(/\bprocess\.kill\([^,)]*(.*?)\)/g)) assert.equal(signal, ', 0', `lib/${name} signals a process`)
    assert.ok(
      !imports.includes('node:process') && !/= process\b|globalThis\.process|process\[/.test(code),
      `lib/${name} takes hold of the process`,
    )
  }
})

/** What is imported at run time, from which modules of Node: none of it reaches another host or process. */
const HARMLESS: Readonly<Record<string, readonly string[]>> = {
  'node:crypto': ['createHash', 'randomBytes', 'randomUUID'],
  'node:diagnostics_channel': ['channel'],
  'node:events': ['once', 'setMaxListeners'],
  'node:fs': [
    'close', 'constants', 'createReadStream', 'fdatasync', 'fstat', 'fsync', 'ftruncate', 'lstat', 'lstatSync', 'mkdirSync', 'open', 'read',
    'readFileSync', 'readdirSync', 'rename', 'rmSync', 'writeFile', 'writeFileSync', 'writev',
  ],
  'node:fs/promises': [
    'chmod', 'copyFile', 'lstat', 'lutimes', 'mkdir', 'open', 'opendir', 'readFile', 'readdir', 'readlink', 'rename', 'rm', 'stat',
    'symlink', 'unlink', 'utimes',
  ],
  'node:http': ['STATUS_CODES', 'ServerResponse', 'validateHeaderName', 'validateHeaderValue'],
  'node:net': ['BlockList', 'Server', 'isIP'],
  'node:os': ['hostname', 'uptime'],
  'node:path': ['dirname', 'join', 'resolve'],
  'node:stream': ['Readable', 'Transform', 'Writable'],
  'node:stream/promises': ['finished', 'pipeline'],
  'node:tls': ['Server'],
}

test('nothing but the program reaches the network or another process; the locks use sockets that are files', () => {
  for (const name of sources.filter((source) => !source.startsWith('cli/'))) {
    const { code } = read(name)
    for (const [, names = '', module = ''] of code.matchAll(/^import (?!type )(.*?) from '(node:[^']+)'/gm)) {
      const values = names
        .replace(/[{}]/g, '')
        .split(',')
        .map((each) => each.trim().replace(/ as \w+$/, ''))
        .filter((each) => each !== '' && !each.startsWith('type '))
      const allowed = dirname(name) === 'lock-files' && module === 'node:net' ? ['connect', 'createServer'] : HARMLESS[module] ?? []
      for (const value of values) assert.ok(allowed.includes(value), `lib/${name} imports ${value} from ${module}`)
    }
    assert.doesNotMatch(code, /(?<![#.])\b(?:fetch|WebSocket|EventSource|Worker)\s*\(|\bimport\s*\(|\brequire\s*\(|\bgetBuiltinModule\b/, `lib/${name}`)
  }
  for (const name of sources.filter((source) => dirname(source) === 'lock-files')) {
    for (const [, address] of read(name).code.matchAll(/(?:\bconnect|\.listen)\((.{5})/g)) assert.match(address!, /^(?:\{ pat|path\))/)
  }
})

test('every source says its licence and what it is, and exports by name', () => {
  for (const name of sources) {
    const text = readFileSync(join(ROOT, 'lib', name), 'utf8')
    assert.match(text, /^(?:#!.*\n)?\/\/ SPDX-License-Identifier: MIT\n/, `lib/${name}`)
    if (name !== 'index.ts') assert.match(text, /^\/\*\*\n[^]*?@module\n \*\/$/m, `lib/${name}`)
    assert.doesNotMatch(read(name).code, /export default/, `lib/${name}`)
  }
})

test('the package depends on nothing, and its tools are the five that are allowed', () => {
  for (const kind of ['dependencies', 'peerDependencies', 'optionalDependencies', 'bundledDependencies']) {
    assert.equal(manifest[kind], undefined)
  }
  assert.deepEqual(Object.keys(manifest.devDependencies).sort(), ['@types/node', 'c8', 'fast-check', 'tsx', 'typescript'])
  for (const hook of ['preinstall', 'install', 'postinstall', 'prepare']) assert.equal(manifest.scripts[hook], undefined)
})

test('each primitive has a subpath of its own, named after its file or its folder', () => {
  for (const { files: [entry = ''] } of PRIMITIVES) {
    const path = `./dist/${entry.replace(/\.ts$/, '')}`
    assert.deepEqual(manifest.exports[`./${primitiveOf(entry)}`], { types: `${path}.d.ts`, default: `${path}.js` })
  }
  for (const subpath of Object.keys(manifest.exports)) assert.doesNotMatch(subpath, /\*/)
})

test('the top level holds what belongs there and nothing else', async () => {
  const { stdout } = await run('git', ['ls-files'], { cwd: ROOT })
  const top = new Set(stdout.trim().split('\n').map((path) => path.split('/')[0]!))
  const expected = [
    '.ci', '.editorconfig', '.gitattributes', '.gitignore', 'CHANGELOG.md', 'CONTRIBUTING.md', 'LICENSE', 'README.md', 'SECURITY.md',
    'bench', 'lib',
    'package-lock.json', 'package.json', 'test', 'tsconfig.json',
  ]
  assert.deepEqual([...top].sort(), expected)
})

test('where requestTimeout is switched off, the time for headers is not: Node would derive the one from the other', () => {
  assert.equal(createServer({ requestTimeout: 0 }).headersTimeout, 0)
  assert.equal(createServer({ requestTimeout: 0, headersTimeout: 60_000 }).headersTimeout, 60_000)
  for (const name of ['README.md', ...sources.map((source) => join('lib', source))]) {
    for (const [, rest = ''] of readFileSync(join(ROOT, name), 'utf8').matchAll(/requestTimeout: 0(.{0,20})/g)) {
      assert.match(rest, /^, headersTimeout: /, name)
    }
  }
})

test("the README's commands are those that CI runs, and its table counts lines to within ten per cent", () => {
  const readme = readFileSync(join(ROOT, 'README.md'), 'utf8')
  assert.match(readme, /^npm ci && npm start$/m)
  assert.match(readme, /^npm ci && npm test$/m)
  assert.match(readFileSync(join(ROOT, '.ci', 'run'), 'utf8'), /npm ci && npm test|npm test/)
  const rows = new Map(
    Array.from(readme.matchAll(/^\| \[`([^`]+)`\]\([^)]*\) \|.*\| (\d+) \| [^|]+ \|$/gm), ([, name, lines]) => [name!, Number(lines)]),
  )
  const linesOf = (name: string): number => linesOfCode(readFileSync(join(ROOT, 'lib', name), 'utf8')).length
  const agree = (name: string, lines: number): void => {
    const said = rows.get(name) ?? NaN // rounded to tens, so that 5 lines and a tenth may lie between
    assert.ok(Math.abs(said - lines) <= 5 + lines / 10, `the README says that lib/${name} has ${said} lines of code, and it has ${lines}`)
  }
  for (const { files: [entry = ''], lines } of PRIMITIVES) {
    const row = dirname(entry) === '.' ? entry : `${dirname(entry)}/`
    agree(row, lines)
  }
  for (const folder of ['tus/', 'rufh/', 'http/', 'upload/', 'download/']) {
    agree(folder, sources.filter((name) => name.startsWith(folder)).reduce((sum, name) => sum + linesOf(name), 0))
  }
})

test('each promise of SECURITY.md names tests that exist', () => {
  const rows = readFileSync(join(ROOT, 'SECURITY.md'), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('| ') && !line.startsWith('| promise'))
  assert.ok(rows.length > 20)
  for (const row of rows) {
    const paths = Array.from(row.matchAll(/`(test\/[^`]+)`/g), ([, path]) => path!)
    assert.ok(paths.length > 0, row)
    for (const path of paths) assert.ok(existsSync(join(ROOT, path)), `${path} of SECURITY.md is not there`)
  }
})
