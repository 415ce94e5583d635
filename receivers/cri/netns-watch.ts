import { watch } from 'node:fs';
import { Observable, retry, type SchedulerLike, timer } from 'rxjs';

/**
 * Emits when a name appears in or goes from a directory of namespaces. The directory may not be there yet: it is looked for again every
 * `retryMs`.
 */
export function watchNetns(directory: string, retryMs: number, scheduler: SchedulerLike): Observable<string> {
  return new Observable<string>((subscriber) => {
    const watcher = watch(directory, { persistent: false }, () => subscriber.next('netns'));
    watcher.on('error', (error) => subscriber.error(error));
    return () => watcher.close();
  }).pipe(retry({ delay: () => timer(retryMs, scheduler) }));
}
