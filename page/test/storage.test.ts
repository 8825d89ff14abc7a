import { IDBFactory } from "fake-indexeddb";
import { beforeEach, describe, expect, it } from "vitest";
import { openDatabase, storageProblem } from "../src/store/database";
import { readKey, readSettings, readTheme, writeKey, writeSettings, writeTheme } from "../src/store/preferences";
import { append, newConversation } from "../src/talk/conversation";
import { DEFAULTS } from "../src/talk/settings";

describe("the database", () => {
  const spoken = (text: string) => append(newConversation(), { id: text, parent: null, at: 1, role: "user", text, finish: "stop" });

  it("gives back what it was given, also after it is opened again", async () => {
    const factory = new IDBFactory();
    const [one, two] = [spoken("one"), spoken("two")];
    const database = await openDatabase(factory);
    await database.put(one);
    await database.put(two);
    await database.put({ ...one, title: "changed" });
    await database.remove(two.id);
    const { conversations, unreadable } = await (await openDatabase(factory)).load();
    expect(conversations).toEqual([{ ...one, title: "changed" }]);
    expect(unreadable).toBe(0);
  });

  it("counts rows that it cannot read, and shows the others", async () => {
    const database = await openDatabase(new IDBFactory());
    await database.put({ id: "x", title: 3 } as never);
    await database.put(spoken("one"));
    const { conversations, unreadable } = await database.load();
    expect([conversations.length, unreadable]).toEqual([1, 1]);
  });

  it("tells a full store from one that is not there", () => {
    expect(storageProblem(new DOMException("", "QuotaExceededError"))).toContain("no room");
    expect(storageProblem(new DOMException("", "InvalidStateError"))).toContain("does not keep");
  });

  it("ends a message that a closed page was writing", async () => {
    const database = await openDatabase(new IDBFactory());
    const { finish: _, ...unfinished } = spoken("one").messages.one!;
    await database.put({ ...spoken("one"), messages: { one: unfinished } });
    expect((await database.load()).conversations[0]?.messages.one?.finish).toBe("stopped");
  });
});

describe("preferences", () => {
  beforeEach(() => {
    localStorage.clear();
    sessionStorage.clear();
  });

  it("keep the key for the tab, or for longer by choice", () => {
    writeKey("k", false);
    expect([localStorage.length, readKey()]).toEqual([0, { key: "k", isKept: false }]);
    writeKey("k", true);
    expect([sessionStorage.length, readKey()]).toEqual([0, { key: "k", isKept: true }]);
    writeKey("", true);
    expect([localStorage.length, sessionStorage.length]).toEqual([0, 0]);
  });

  it("come back", () => {
    writeTheme("dark");
    expect(readTheme()).toBe("dark");
    writeTheme("system");
    expect(readTheme()).toBe("system");
    writeSettings({ ...DEFAULTS, seed: 3 });
    expect(readSettings()).toEqual({ ...DEFAULTS, seed: 3 });
    localStorage.setItem("gptoss.settings", "{");
    expect(readSettings()).toEqual(DEFAULTS);
  });
});
