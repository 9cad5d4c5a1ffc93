// SPDX-License-Identifier: MIT

export * from './delayed-signal.ts'
export * from './early-response.ts'
export * from './file-store.ts'
export * from './happy-reader.ts'
export * from './keyed-lock.ts'
export * from './request-signal.ts'
export * from './shutdown-group.ts'
export { tusHandler, type TusHandler, type TusHandlerOptions } from './tus/handler.ts'
export type { TusRequest, TusResponse } from './tus/exchange.ts'
export { UploadError, type UploadErrorCode } from './upload/errors.ts'
export type { Lock, Locker, LockOptions, NewUpload, Upload, UploadStore } from './upload/types.ts'
