// Conversations in the browser's database: one row each, under its id.
import { type Conversation, conversationOf } from "../talk/conversation";

const NAME = "gptoss";
const VERSION = 1;
const ROWS = "conversations";

export interface Database {
  /** All that can be read, and how many rows could not. */
  load(): Promise<{ conversations: Conversation[]; unreadable: number }>;
  put(conversation: Conversation): Promise<void>;
  remove(id: string): Promise<void>;
}

/** Rejects where the browser keeps nothing: some private windows. */
export function openDatabase(factory: IDBFactory = indexedDB): Promise<Database> {
  return new Promise((resolve, reject) => {
    const request = factory.open(NAME, VERSION);
    request.onupgradeneeded = () => request.result.createObjectStore(ROWS, { keyPath: "id" });
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error("another tab holds an older version open"));
    request.onsuccess = () => {
      const opened = request.result;
      // A later version of the page in another tab may change the rows.
      opened.onversionchange = () => opened.close();
      resolve(databaseOver(opened));
    };
  });
}

function databaseOver(opened: IDBDatabase): Database {
  const write = (act: (rows: IDBObjectStore) => void) =>
    new Promise<void>((resolve, reject) => {
      const change = opened.transaction(ROWS, "readwrite");
      change.oncomplete = () => resolve();
      change.onabort = () => reject(change.error);
      change.onerror = () => reject(change.error);
      act(change.objectStore(ROWS));
    });
  return {
    load: () =>
      new Promise((resolve, reject) => {
        const request = opened.transaction(ROWS).objectStore(ROWS).getAll();
        request.onerror = () => reject(request.error);
        request.onsuccess = () => {
          const rows = request.result.map(conversationOf);
          const conversations = rows.filter((row) => row !== null);
          resolve({ conversations, unreadable: rows.length - conversations.length });
        };
      }),
    put: (conversation) => write((rows) => rows.put(conversation)),
    remove: (id) => write((rows) => rows.delete(id)),
  };
}

/** Why a change was not kept, in words. */
export function storageProblem(error: unknown): string {
  const name = error instanceof DOMException ? error.name : "";
  if (name === "QuotaExceededError") {
    return "The browser has no room left for conversations. Export what matters, then delete some.";
  }
  return "The browser does not keep conversations here. They last until this page is closed; export what matters.";
}
