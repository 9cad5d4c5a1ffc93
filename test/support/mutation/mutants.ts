// SPDX-License-Identifier: MIT

/** Finds the small changes that can be made to a TypeScript source: each is a mutant that some test should notice. @module */

import * as nodeModule from 'node:module'

/** A change of one place of a source file. */
export interface Mutant {
  /** The text from `start` to `end` becomes `replacement`. */
  readonly start: number
  readonly end: number
  readonly replacement: string
  readonly line: number
  /** What was there and what is there now, for people. */
  readonly change: string
}

/** A node of the syntax tree (ESTree), of which each kind has properties of its own. */
interface SyntaxNode {
  readonly type: string
  readonly start: number
  readonly end: number
  readonly [property: string]: unknown
}

type Edit = readonly [start: number, end: number, replacement: string]

const OPERATORS: Readonly<Record<string, string>> = {
  '<': '<=', '<=': '<', '>': '>=', '>=': '>', '===': '!==', '!==': '===', '==': '!=', '!=': '==',
  '&&': '||', '||': '&&', '+': '-', '-': '+', '*': '/', '/': '*', '%': '*', '+=': '-=', '-=': '+=', '++': '--', '--': '++',
}
const JUMPS: readonly string[] = ['BreakStatement', 'ContinueStatement', 'ReturnStatement']
const EXCERPT = 60

const { stripTypeScriptTypes } = nodeModule as { readonly stripTypeScriptTypes?: (code: string) => string }

/**
 * The parser, which is no dependency of the project: `npm ci --prefix test/support/mutation` installs it.
 * Throws with what is missing.
 */
function loadParser(): (code: string) => SyntaxNode {
  const { parse } = nodeModule.createRequire(import.meta.url)('acorn') as { parse: (code: string, options: object) => SyntaxNode }
  return (code) => parse(code, { ecmaVersion: 'latest', sourceType: 'module', allowHashBang: true })
}

/** Throws, with advice, if mutants cannot be made here. */
export function assertSupported(): void {
  const { typescript } = process.features as { readonly typescript?: unknown }
  if (!stripTypeScriptTypes || !typescript) throw new Error(`Needs Node 22.18 or later, which runs TypeScript: this is ${process.version}`)
  try {
    loadParser()
  } catch (cause) {
    throw new Error('Needs a parser. Install it: npm ci --prefix test/support/mutation', { cause })
  }
}

/** All mutants of a source, in the order of their places. None is in a comment, a string, a type or an import. */
export function mutantsOf(source: string): Mutant[] {
  const code = stripTypeScriptTypes!(source) // types become spaces, so that all places stay the same
  if (code.length !== source.length) throw new Error('The types were not replaced by as many spaces')
  const mutants: Mutant[] = []
  const visit = (node: SyntaxNode): void => {
    if (node.type === 'ImportDeclaration') return
    for (const [start, end, replacement] of editsOf(node, source)) {
      const line = source.slice(0, start).split('\n').length
      const change = `${excerpt(source.slice(start, end))} → ${excerpt(replacement)}`
      mutants.push({ start, end, replacement, line, change })
    }
    for (const child of Object.values(node).flat()) if (isNode(child)) visit(child)
  }
  visit(loadParser()(code))
  return mutants.sort((a, b) => a.start - b.start)
}

function editsOf(node: SyntaxNode, source: string): Edit[] {
  switch (node.type) {
    case 'BinaryExpression':
    case 'AssignmentExpression':
      return swapOperator(node, source)
    case 'LogicalExpression':
      return node['operator'] === '??' ? [keep(node, 'left', source), keep(node, 'right', source)] : swapOperator(node, source)
    case 'UpdateExpression':
      return [replaceFirst(node, node['operator'] as string, source)]
    case 'Literal':
      return editsOfLiteral(node)
    case 'IfStatement':
    case 'WhileStatement':
    case 'ConditionalExpression': {
      const { start, end } = node['test'] as SyntaxNode
      return [[start, end, `!(${source.slice(start, end)})`]]
    }
    case 'AwaitExpression':
      return [keep(node, 'argument', source)]
    case 'ExpressionStatement':
      return removesSomething(node['expression'] as SyntaxNode) ? [[node.start, node.end, ';']] : []
    default:
      return JUMPS.includes(node.type) ? [withoutJump(node, source)] : []
  }
}

function swapOperator(node: SyntaxNode, source: string): Edit[] {
  const operator = node['operator'] as string
  const swapped = OPERATORS[operator]
  const start = source.indexOf(operator, (node['left'] as SyntaxNode).end)
  return swapped === undefined ? [] : [[start, start + operator.length, swapped]]
}

function replaceFirst(node: SyntaxNode, operator: string, source: string): Edit {
  const start = source.indexOf(operator, node['prefix'] ? node.start : (node['argument'] as SyntaxNode).end)
  return [start, start + operator.length, OPERATORS[operator]!]
}

function keep(node: SyntaxNode, part: string, source: string): Edit {
  const { start, end } = node[part] as SyntaxNode
  const kept = source.slice(start, end)
  return [node.start, node.end, part === 'argument' ? kept : `(${kept})`]
}

function editsOfLiteral({ start, end, value }: SyntaxNode): Edit[] {
  if (typeof value === 'boolean') return [[start, end, String(!value)]]
  if (typeof value !== 'number' || !Number.isInteger(value)) return []
  return (value === 0 ? [1] : [value + 1, value - 1]).map((other) => [start, end, String(other)])
}

/** Whether a statement of this expression does something: a call, an assignment, with `await` or `void` in front or not. */
function removesSomething(expression: SyntaxNode): boolean {
  if (expression.type === 'AwaitExpression' || (expression.type === 'UnaryExpression' && expression['operator'] === 'void')) {
    return removesSomething(expression['argument'] as SyntaxNode)
  }
  if (expression.type === 'CallExpression') return (expression['callee'] as SyntaxNode).type !== 'Super'
  return expression.type === 'AssignmentExpression' || expression.type === 'UpdateExpression'
}

/** A jump that is gone; what a `return` returns is still evaluated. */
function withoutJump(node: SyntaxNode, source: string): Edit {
  const argument = node['argument'] as SyntaxNode | null | undefined
  return [node.start, node.end, argument ? `void (${source.slice(argument.start, argument.end)});` : ';']
}

function isNode(value: unknown): value is SyntaxNode {
  return typeof value === 'object' && value !== null && typeof (value as Partial<SyntaxNode>).type === 'string'
}

function excerpt(text: string): string {
  const line = text.replace(/\s+/g, ' ')
  return line.length > EXCERPT ? `${line.slice(0, EXCERPT)}…` : line === ';' ? 'nothing' : line
}
