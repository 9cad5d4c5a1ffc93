// SPDX-License-Identifier: MIT

/**
 * What those who copy sources want to know beforehand: `lib/manifest.json`, and a bill of materials, `lib/sbom.cdx.json`.
 *
 * Both are made from the sources by `npm run build`, in git, and compared with the sources by a test. They hold no time and
 * nothing of the machine, so a difference in them is a difference in what is taken.
 *
 * @module
 */

import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ROOT, sourceOf } from './examples.ts'

/** What is taken together: a file that the package exports, and all that it needs. */
export interface Unit {
  /** Below `lib`, and to be copied with their folders; the first is the one to import. */
  readonly files: readonly string[]
  /** Lines of code in all files, without comments and blank lines. */
  readonly lines: number
  readonly exports: readonly string[]
  readonly exportedTypes: readonly string[]
  /** What is imported at run time, by module of Node. */
  readonly imports: Readonly<Record<string, readonly string[]>>
  /** Modules of Node of which only types are imported. */
  readonly importedTypes: Readonly<Record<string, readonly string[]>>
  /** What is used of Node's globals at run time. */
  readonly globals: readonly string[]
}

export interface Manifest {
  readonly name: string
  readonly version: string
  readonly license: string
  /** The versions of Node that it runs on. */
  readonly node: string
  /** By subpath of the package. */
  readonly units: Readonly<Record<string, Unit>>
  /** By path below `lib`. */
  readonly files: Readonly<Record<string, { readonly sha256: string; readonly bytes: number }>>
}

/** Globals that Node adds to those of the language. */
const GLOBALS = [
  'AbortController', 'AbortSignal', 'Blob', 'BroadcastChannel', 'Buffer', 'DOMException', 'Event', 'EventSource', 'EventTarget',
  'FormData', 'Headers', 'MessageChannel', 'Request', 'Response', 'TextDecoder', 'TextEncoder', 'URL', 'URLSearchParams',
  'WebAssembly', 'WebSocket', 'Worker', 'clearImmediate', 'clearInterval', 'clearTimeout', 'console', 'crypto', 'fetch',
  'localStorage', 'navigator', 'performance', 'process', 'queueMicrotask', 'require', 'setImmediate', 'setInterval',
  'setTimeout', 'structuredClone',
]

/** A primitive's name: that of its file without the ending, or of its folder. */
export function primitiveOf(entry: string): string {
  return dirname(entry) === '.' ? entry.replace(/\.ts$/, '') : dirname(entry)
}

interface Source {
  /** Without comments. */
  readonly code: string
  readonly statements: readonly Statement[]
}

/** An import, or a re-export, as the entry of a folder has it. */
interface Statement {
  readonly from: string
  readonly isExport: boolean
  readonly values: readonly string[]
  readonly types: readonly string[]
}

export function makeManifest(): Manifest {
  const { name, version, license, engines, exports } = packageManifest()
  const subpaths = Object.keys(exports)
    .filter((subpath) => subpath !== '.' && subpath !== './package.json')
    .map((subpath) => subpath.slice(2))
  const units = subpaths.map((subpath) => [subpath, makeUnit(sourceOf(subpath).slice(join(ROOT, 'lib/').length))] as const)
  const files = sorted(units.flatMap(([, unit]) => unit.files)).map((path) => [path, fingerprint(path)] as const)
  return { name, version, license, node: engines.node, units: Object.fromEntries(units), files: Object.fromEntries(files) }
}

/**
 * CycloneDX, as it can say that the list of dependencies is complete, and not merely empty (`compositions`). It asks for
 * neither a serial number nor a time.
 */
export function makeBillOfMaterials(): object {
  const { name, version, description, license } = packageManifest()
  const [copyright] = /^Copyright .*$/m.exec(readFileSync(join(ROOT, 'LICENSE'), 'utf8')) ?? []
  const purl = `pkg:npm/${name}@${version}`
  return {
    $schema: 'http://cyclonedx.org/schema/bom-1.6.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: {
      component: {
        type: 'library',
        'bom-ref': purl,
        name,
        version,
        description,
        licenses: [{ license: { id: license } }],
        copyright,
        purl,
      },
    },
    components: [],
    dependencies: [{ ref: purl, dependsOn: [] }],
    compositions: [{ aggregate: 'complete', dependencies: [purl] }],
  }
}

/** The text of each file that is made, by its path. */
export function generatedFiles(): ReadonlyMap<string, string> {
  return new Map([
    ['lib/manifest.json', format(makeManifest())],
    ['lib/sbom.cdx.json', format(makeBillOfMaterials())],
  ])
}

/** How the README counts: without comments and blank lines. */
export function linesOfCode(text: string): string[] {
  return withoutComments(text).split('\n').filter((line) => line.trim() !== '')
}

function makeUnit(entry: string): Unit {
  const files = closure(entry)
  const sources = files.map(read)
  const statements = sources.flatMap((source) => source.statements).filter(({ from }) => from.startsWith('node:'))
  const { code, statements: ofEntry } = read(entry)
  const passedOn = ofEntry.filter(({ isExport }) => isExport)
  return {
    files,
    lines: files.reduce((sum, path) => sum + linesOfCode(textOf(path)).length, 0),
    exports: sorted([...namesIn(code, /^export (?:async )?(?:class|const|function) (\w+)/gm), ...passedOn.flatMap(({ values }) => values)]),
    exportedTypes: sorted([...namesIn(code, /^export (?:interface|type) (\w+)/gm), ...passedOn.flatMap(({ types }) => types)]),
    imports: byModule(statements, ({ values }) => values),
    importedTypes: byModule(statements, ({ types }) => types),
    globals: sorted(sources.flatMap(globalsOf)),
  }
}

/** The file and all that it imports, itself or through others. */
function closure(entry: string): string[] {
  const found = new Set([entry])
  for (const path of found) {
    for (const { from } of read(path).statements) if (from.startsWith('.')) found.add(normalize(join(dirname(path), from)))
  }
  return [entry, ...[...found].filter((path) => path !== entry).sort()]
}

function read(path: string): Source {
  const code = withoutComments(textOf(path))
  const statements = Array.from(
    code.matchAll(/^(?:import|export) (type )?\{([^}]*)\} from '([^']+)'$/gm),
    ([whole, typesOnly, list = '', from = '']) => {
      const names = list.split(',').map((each) => each.trim().replace(/ as \w+$/, '')).filter((each) => each !== '')
      const isType = (name: string): boolean => typesOnly !== undefined || name.startsWith('type ')
      return {
        from,
        isExport: whole.startsWith('export'),
        values: names.filter((name) => !isType(name)),
        types: names.filter(isType).map((name) => name.replace(/^type /, '')),
      }
    },
  )
  const others = code.match(/^import\b|^export\b[^'\n]*\bfrom\b|\bimport\(/gm)?.length ?? 0
  if (others !== statements.length) throw new Error(`lib/${path} imports in a way that is not known here`)
  return { code, statements }
}

/** `process` and the like are many things: of those that are used by their members, the members are named. */
function globalsOf({ code, statements }: Source): string[] {
  const plain = code.replace(/'(?:[^'\\\n]|\\.)*'/g, "''").replace(/ \/\/ .*$/gm, '')
  const ours = new Set(statements.flatMap(({ values }) => values))
  return GLOBALS.filter((name) => !ours.has(name)).flatMap((name) => {
    const used = new RegExp(`(?<![\\w#$]|[\\w)\\]?!]\\.)${name}(?:\\.(\\w+)|(?=\\())|\\b(?:new|instanceof) ${name}\\b|\\(${name}\\)`, 'g')
    return Array.from(plain.matchAll(used), ([, member]) => (member === undefined ? name : `${name}.${member}`))
  })
}

function byModule(statements: readonly Statement[], names: (statement: Statement) => readonly string[]): Record<string, string[]> {
  const modules = sorted(statements.filter((statement) => names(statement).length > 0).map(({ from }) => from))
  return Object.fromEntries(modules.map((module) => [module, sorted(statements.filter(({ from }) => from === module).flatMap(names))]))
}

function namesIn(code: string, pattern: RegExp): string[] {
  return sorted(Array.from(code.matchAll(pattern), ([, name = '']) => name))
}

function fingerprint(path: string): { sha256: string; bytes: number } {
  const bytes = readFileSync(join(ROOT, 'lib', path))
  return { sha256: createHash('sha256').update(bytes).digest('hex'), bytes: bytes.length }
}

function textOf(path: string): string {
  return readFileSync(join(ROOT, 'lib', path), 'utf8')
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[^]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '')
}

function sorted(values: readonly string[]): string[] {
  return [...new Set(values)].sort()
}

/** JSON in which whatever fits has one line: a changed file is a changed line. */
function format(value: object): string {
  const inner = /[[{]\n[^[\]{}]*[\]}]/g
  return `${JSON.stringify(value, null, 2).replace(inner, (block) => {
    const line = block.replace(/\n\s*/g, ' ')
    return line.length <= 120 ? line : block
  })}\n`
}

function packageManifest(): {
  name: string
  version: string
  description: string
  license: string
  engines: { node: string }
  exports: object
} {
  return JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
}

/** Files directly in `lib`, and folders that hold nothing of ours from elsewhere: each is taken by itself. */
export const PRIMITIVES: readonly Unit[] = Object.values(makeManifest().units)
  .filter(({ files }) => files.every((file) => dirname(file) === dirname(files[0]!)))

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [path, text] of generatedFiles()) {
    const target = join(ROOT, path)
    if (!existsSync(target) || readFileSync(target, 'utf8') !== text) writeFileSync(target, text)
  }
}
