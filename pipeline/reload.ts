import { type FSWatcher, watch } from 'node:fs';
import { readFile, realpath } from 'node:fs/promises';
import { dirname } from 'node:path';
import { debounceTime, merge, Observable, type SchedulerLike, type Subscription } from 'rxjs';

/**
 * Tells when the config file may have changed. The *directory* is watched: editors replace files, and a Kubernetes ConfigMap is
 * swapped by renaming the `..data` symlink beside the file, which changes nothing about the file's own inode.
 */

/** Quiet time after a change before it is looked at: an editor's save is several events. */
const settleMs = 250;
/** Events get lost (network file systems, watch limits): look at the file this often all the same. */
const pollMs = 30_000;

/** The file was looked at: what it says now, or why it could not be read. */
export type ConfigChange = { readonly asked: boolean } & ({ readonly text: string } | { readonly error: unknown });

/** Text of the config file each time it differs from the last one seen, `first` being what runs now. Errors of reading are emitted too. */
export function configChanges(options: {
  readonly file: string;
  readonly first: string;
  readonly scheduler: SchedulerLike;
  /** Asked for by the user (SIGHUP): emits even when the text is the same. */
  readonly asked$: Observable<unknown>;
}): Observable<ConfigChange> {
  const { file, scheduler } = options;
  return new Observable((subscriber) => {
    let last: string | Error = options.first;
    let isAsked = false;
    let isReading = false;
    let isStale = false;
    const look = async () => {
      // One reading at a time; what happens meanwhile is looked at after it.
      if (isReading) {
        isStale = true;
        return;
      }
      isReading = true;
      do {
        isStale = false;
        const asked = isAsked;
        isAsked = false;
        const text = await readFile(file, 'utf8').catch((error: Error) => error);
        if (subscriber.closed) return;
        const isNew = text instanceof Error ? !(last instanceof Error) : text !== last;
        last = text;
        if (!isNew && !asked) continue;
        subscriber.next(text instanceof Error ? { error: text, asked } : { text, asked });
      } while (isStale && !subscriber.closed);
      isReading = false;
    };
    const asked: Subscription = options.asked$.subscribe(() => {
      isAsked = true;
      void look();
    });
    const changed = merge(directoryEvents(file, scheduler).pipe(debounceTime(settleMs, scheduler))).subscribe(
      () => void look(),
    );
    const poll = scheduler.schedule(function (this) {
      void look();
      this.schedule(undefined, pollMs);
    }, pollMs);
    return () => {
      asked.unsubscribe();
      changed.unsubscribe();
      poll.unsubscribe();
    };
  });
}

/** Events in the directory of the file and, where the file is a link into another directory, in that one. */
function directoryEvents(file: string, scheduler: SchedulerLike): Observable<void> {
  return new Observable((subscriber) => {
    const watchers: FSWatcher[] = [];
    const open = (directory: string) => {
      try {
        const watcher = watch(directory, { persistent: false }, () => subscriber.next());
        // A directory that goes away or a full inotify table: the poll goes on looking.
        watcher.on('error', () => watcher.close());
        watchers.push(watcher);
      } catch {
        // As above.
      }
    };
    open(dirname(file));
    const real = scheduler.schedule(() => {
      void realpath(file).then(
        (path) => {
          if (!subscriber.closed && dirname(path) !== dirname(file)) open(dirname(path));
        },
        () => {},
      );
    }, 0);
    return () => {
      real.unsubscribe();
      for (const watcher of watchers) watcher.close();
    };
  });
}
