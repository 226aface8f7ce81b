// A connection that several pages share: in a worker, or in the page that leads. It remembers what
// has come lately, for pages that join with an older position.

import { connect, type Connection, type Internal, type Receiver, type Status } from './connection.js';

export type Row = Parameters<Receiver['row']>;

/** What a page says to the one that has the connection. */
export type Ask =
  /** It has joined, and has seen all up to this id. `from` names it. */
  | { join: string; since: string }
  | { ask: 'reconnect' };

/** What all pages are told, or one. */
export type Tell =
  | { row: Row; origin: string; lastEventId: string }
  | { status: Status; reconnectionTime: number; lastEventId: string }
  /** It takes part, and these rows it has missed; or it has to see for itself. */
  | { welcome: string; rows: Row[]; alone: boolean; status: Status; reconnectionTime: number; origin: string }
  /** There is another one that leads: pages that were not welcomed join again. */
  | { lead: true };

/** How many events are remembered, and how many characters of theirs. */
const MOST_ROWS = 1000, MOST_TEXT = 1 << 20;

export class Hub {
  readonly connection: Connection;
  status: Status = { state: 'connecting' };
  /** The last event ID before the first row that is remembered. */
  #before: string;
  #rows: Row[] = [];
  #text = 0;

  constructor(url: string, options: Internal, say: (message: Tell) => void) {
    this.#before = options.lastEventId ?? '';
    this.connection = connect(url, options, {
      row: (...row) => {
        this.#remember(row);
        const { origin, lastEventId } = this.connection;
        say({ row, origin, lastEventId });
      },
      status: (status) => {
        // What was thrown may be nothing that can be sent.
        const { cause, ...rest } = status;
        this.status = cause === undefined ? rest : { ...rest, cause: `${cause}` };
        // Not yet assigned while it is made.
        const { reconnectionTime = NaN, lastEventId = '' } = this.connection ?? {};
        say({ status: this.status, reconnectionTime, lastEventId });
      },
    });
  }

  #remember(row: Row) {
    this.#rows.push(row);
    this.#text += row[2].length;
    while (this.#rows.length > MOST_ROWS || this.#text > MOST_TEXT) {
      const [[, id, data]] = this.#rows.splice(0, 1);
      this.#before = id;
      this.#text -= data.length;
    }
  }

  /** The answer to a page that joins. */
  welcome(page: string, since: string): Tell {
    const { reconnectionTime, lastEventId, origin } = this.connection;
    let rows: Row[] | undefined = [];
    if (since !== '' && since !== lastEventId) {
      // Events without an id of their own have that of the one before, and come after it.
      const seen = since === this.#before ? -1 : this.#rows.findIndex(([, id]) => id === since);
      rows = seen < 0 && since !== this.#before ? undefined : this.#rows.slice(seen + 1);
    }
    return {
      welcome: page, rows: rows ?? [], alone: !rows, status: this.status, reconnectionTime, origin,
    };
  }
}
