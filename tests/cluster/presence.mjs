// What members of a presence channel see of one another, held against what is so: nobody is seen for longer than he may be after he is gone,
// and nobody who is there is seen to leave. Counted from when the hosts can reach one another.

export class Presence {
  ghosts = 0;
  flickers = 0;
  longest = 0;            // milliseconds for which somebody was seen who was gone
  lacked = 0;             // milliseconds after hosts were apart at which a list lacked somebody who was there
  complaints = [];
  #reported = new Set();
  #calmSince = null;
  #togetherSince = null;  // since when they could reach one another, whether or not all were there

  /**
   * `bound`: milliseconds after which nobody may see who is gone. `settle`: for which somebody has to be there until all must have heard of it.
   * `recovery`: milliseconds after which hosts that were apart have the members of one another again. `apart()`: whether the hosts cannot reach one another, or could not just now. `down()`: whether a host is not there.
   * It has to be made to `look` again and again.
   */
  constructor(people, { bound, settle, recovery, apart, down, now = Date.now }) {
    Object.assign(this, { people, bound, settle, recovery, apart, down, now });
    for (const person of people) person.onMissing = (user, event) => this.#missing(person, user, event);
  }

  /** Milliseconds for which all hosts have been there and could reach one another. */
  get calm() {
    return this.#calmSince === null ? 0 : this.now() - this.#calmSince;
  }

  look() {
    const now = this.now();
    this.#togetherSince = this.apart() ? null : this.#togetherSince ?? now;
    if (this.apart() || this.down()) {
      this.#calmSince = null;
      return;
    }
    this.#calmSince ??= now;
    for (const { user, gone } of this.people) {
      if (gone === null) continue;
      const since = now - Math.max(gone, this.#calmSince);
      const seeing = this.people.filter((one) => one.present?.has(user)).map((one) => one.user);
      if (seeing.length === 0) continue;
      this.longest = Math.max(this.longest, since);
      const what = `${user} ${gone}`;
      if (since <= this.bound || this.#reported.has(what)) continue;
      this.#reported.add(what);
      this.ghosts += 1;
      this.complaints.push(`${user} is gone for ${((now - gone) / 1000).toFixed(1)} s, ${(since / 1000).toFixed(1)} s of them calm, and ${seeing.join(', ')} still see it`);
    }
  }

  /** `one` was told that a user left, or what it was told of all lacks that user. */
  #missing(one, user, event) {
    if (this.apart()) return;
    const together = this.#togetherSince === null ? 0 : this.now() - this.#togetherSince;
    const here = this.people.find((person) => person.user === user)?.hereFor ?? 0;
    if (here < this.settle) return;
    // Hosts that took one another for dead while they were apart have to hear of one another first.
    if (event === 'askr:members') {
      this.lacked = Math.max(this.lacked, together);
      if (together < this.recovery) return;
    }
    this.flickers += 1;
    this.complaints.push(`${user} is there for ${(here / 1000).toFixed(1)} s, and ${one.user} on ${one.at} is told that it is not: ${event}, ${(together / 1000).toFixed(1)} s after they could reach one another`);
  }
}
