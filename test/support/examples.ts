// SPDX-License-Identifier: MIT

/** The programs that the documentation shows. @module */

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const ROOT: string = fileURLToPath(new URL('../..', import.meta.url))

/** A program, and where it stands. */
export interface Example {
  readonly file: string
  readonly code: string
  /** The subpaths of the package that it imports, sorted and joined with "+": what tells examples apart. */
  readonly imports: string
}

/** All TypeScript programs of the README, and of the documents and doc comments in `lib`, in the order of their files. */
export function readExamples(): Example[] {
  const sources = readdirSync(join(ROOT, 'lib'), { recursive: true, encoding: 'utf8' }).filter((name) => /\.(?:ts|md)$/.test(name))
  return ['README.md', ...sources.sort().map((name) => join('lib', name))].flatMap((file) => {
    const text = readFileSync(join(ROOT, file), 'utf8')
    const plain = file.endsWith('.ts') ? text.replace(/^ \* ?/gm, '') : text
    return Array.from(plain.matchAll(/^```ts\n([^]*?)^```$/gm), ([, code = '']) => {
      const imports = Array.from(code.matchAll(/from 'longhaul\/([^']+)'/g), ([, subpath]) => subpath)
      return { file, code, imports: imports.sort().join('+') }
    })
  })
}

/** The source file behind a subpath of the package, as its `exports` say. */
export function sourceOf(subpath: string): string {
  const { exports } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { exports: Record<string, { default: string }> }
  const target = exports[subpath === '' ? '.' : `./${subpath}`]
  if (!target) throw new Error(`The package does not export ${subpath}`)
  return join(ROOT, target.default.replace(/^\.\/dist\//, 'lib/').replace(/\.js$/, '.ts'))
}
