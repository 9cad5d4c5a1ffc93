// SPDX-License-Identifier: MIT

/** Which tests concern a source file: the smallest set that should notice a change in it, the quickest of them first. @module */

import fs from 'node:fs' // `globSync` is not there in Node 20, which must be able to say that it is too old

/** From the beginning of a path to patterns of test files. The longest beginning counts. */
const TABLE: Readonly<Record<string, readonly string[]>> = {
  'lib/delayed-signal.ts': ['test/delayed-signal.test.ts'],
  'lib/early-response.ts': ['test/early-response.test.ts'],
  'lib/happy-reader.ts': ['test/happy-reader.test.ts', 'test/happy-reader-sockets.test.ts'],
  'lib/interim-response.ts': ['test/interim-response.test.ts'],
  'lib/keyed-lock.ts': ['test/keyed-lock.test.ts'],
  'lib/request-signal.ts': ['test/request-signal.test.ts'],
  'lib/shutdown-group.ts': ['test/shutdown-group*.test.ts', 'test/cut-uploads.test.ts'],
  'lib/file-store': ['test/file-store*.test.ts'],
  'lib/lock-files': ['test/lock-files*.test.ts'],
  'lib/cli': ['test/cli/*.test.ts'],
  'lib/download': ['test/download/*.test.ts', 'test/tus/finished-files.test.ts', 'test/rufh/retrieval.test.ts'],
  'lib/http': ['test/http/*.test.ts', 'test/tus/*.test.ts', 'test/rufh/*.test.ts'],
  'lib/upload-handler.ts': ['test/rufh/both-protocols.test.ts', 'test/rufh/*.test.ts'],
  'lib/tus': ['test/tus/*.test.ts', 'test/http/*.test.ts'],
  'lib/rufh': ['test/rufh/*.test.ts', 'test/http/*.test.ts'],
  'lib/upload': ['test/upload/*.test.ts', 'test/tus/*.test.ts', 'test/rufh/*.test.ts'],
  'lib': ['test/*.test.ts'],
}

/** The test files for a source file, in the order in which its patterns name them. */
export function testsOf(file: string): readonly string[] {
  const beginning = Object.keys(TABLE).filter((prefix) => file.startsWith(prefix)).sort((a, b) => b.length - a.length)[0]
  return [...new Set((TABLE[beginning ?? 'lib'] ?? []).flatMap((pattern) => fs.globSync(pattern).sort()))]
}
