// SPDX-License-Identifier: MIT

/**
 * Goes through all uploads: removes what has expired, finishes what was interrupted.
 *
 * @module
 */

import type { UploadContext } from './context.ts'
import { UploadError } from './errors.ts'
import { publishError } from './events.ts'
import { finishUpload } from './finish.ts'
import { isComplete, isExpired, isSettled } from './lifecycle.ts'
import { remove } from './terminate.ts'
import type { Upload } from './types.ts'
import { whileFree } from './with-lock.ts'

/** What a sweep did, in numbers of uploads. */
export interface SweepReport {
  readonly examined: number
  readonly expired: number
  /** Complete ones that are finished or rejected now. */
  readonly settled: number
  /** Uploads and whole steps that failed. Each was published as an error. */
  readonly failed: number
}

/** How many uploads are looked at side by side. */
const CONCURRENCY = 4

/**
 * Looks at every upload in the store once, a few at a time, so that memory does not grow with their
 * number.
 *
 * 1. An upload that has expired is removed, after `onTerminate`.
 * 2. An upload that is complete but not finished, as a hook failed or the server stopped, is
 *    finished.
 * 3. What crashes left behind is removed.
 *
 * An upload that a request holds is left alone, and its request is not disturbed. A finished upload
 * is never touched. The sweep does not reject, and ends early when `signal` aborts.
 */
export async function sweepUploads(context: UploadContext, signal: AbortSignal | undefined): Promise<SweepReport> {
  const { store } = context
  const report = { examined: 0, expired: 0, settled: 0, failed: 0 }
  const attempt = async (work: () => unknown): Promise<void> => {
    try {
      await work()
    } catch (error) {
      if (signal?.aborted) return // the failure is part of that
      report.failed++
      publishError(error as Error)
    }
  }
  let ids: AsyncIterator<string> | undefined
  await attempt(() => (ids = store.list?.()[Symbol.asyncIterator]()))
  const work = async (): Promise<void> => {
    for (let next = await ids?.next(); next && !next.done; next = await ids?.next()) {
      if (signal?.aborted) break
      const id = next.value
      report.examined++
      await attempt(async () => {
        const did = await sweepOne(context, id)
        if (did) report[did]++
      })
    }
  }
  await Promise.all(Array.from({ length: CONCURRENCY }, () => attempt(work)))
  await attempt(() => ids?.return?.())
  if (!signal?.aborted) await attempt(() => store.removeLeftovers?.())
  return report
}

/** What was done with one upload; `undefined`: nothing. */
type Swept = 'expired' | 'settled' | undefined

async function sweepOne(context: UploadContext, id: string): Promise<Swept> {
  const found = await context.store.find(id)
  return needsSweeping(context, found) ? whileFree(context, id, (context) => sweepHeld(context, id)) : undefined
}

async function sweepHeld(context: UploadContext, id: string): Promise<Swept> {
  const upload = await context.store.find(id) // a request may have changed it in between
  if (!needsSweeping(context, upload)) return undefined
  if (isExpired(upload, context.limits.expiration)) {
    await remove(context, upload, 'expired')
    return 'expired'
  }
  try {
    return isSettled(await finishUpload(context, upload, { end: 'later' })) ? 'settled' : undefined
  } catch (error) {
    if (error instanceof UploadError && error.code === 'BUSY') return undefined // the next sweep may find a free slot
    throw error
  }
}

function needsSweeping({ limits }: UploadContext, upload: Upload | undefined): upload is Upload {
  if (!upload) return false
  if (isExpired(upload, limits.expiration)) return true
  return !isSettled(upload) && (isComplete(upload, 'later') || upload.parts !== undefined)
}
