"""The subscriber machine: which rows to hand out, and what to ask the store for next; pure.

Fed with frames, heartbeats, heads and pages in any order, with any of them lost or doubled, it
hands out the rows of each session in order, without a gap and once. Per session::

    SYNCING --page reaches the head--> LIVE --a sequence is missing--> LAGGING --page--> LIVE
                                         +---the epoch rose----------> FENCED ---page--> LIVE

Rules owned here (03 7, 14.1):

- Live rows are taken only when LIVE and only the next sequence of the same epoch. In every other
  phase frames are held, within ``HELD_BYTES_MAX``, and the store is asked.
- The epoch rises with each activation of a store and with each clear. Only the store can tell
  them apart, and whether rows were lost, so a higher epoch is taken unseen only with sequence 1,
  which only a clear brings.
- A page with ``reset`` says that the position is not in the store any more: what it brings
  replaces what was handed out after the last common row. ``resets`` counts those.

It never looks at a clock: silence, a lost request and a retry are the caller's to notice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from ...actors.model.event import SessionEvent
from .catchup import HeadsReply, RowsReply
from .errors import BusProtocolError
from .fields import Head
from .frames import Heartbeat, RowsFrame, Run, runs_of
from .positions import Lag, Position, encode_cursor
from .tracks import Phase, Track
from .wanted import HeadsWanted, RowsWanted, check_page, start_of

HELD_BYTES_MAX = 8 * 1024 * 1024
"""Frames kept while the store is being read, all sessions together; it must exceed a page."""
LAGS_MAX = 1000
"""Lags kept until they are looked at; older ones are only counted."""
RESETS_IN_A_ROW_MAX = 8
"""Resets of one session without reaching its head; more is a store that contradicts itself."""


class CursorMachine:
    """Follows one session, or all of them.

    :param session_id: the one session followed; ``None`` follows all.
    :param positions: the last row had of each session; those not named start from their begin.
    :param from_now: start each session at the head that the first heads reply names.
    """

    def __init__(
        self,
        session_id: str | None = None,
        positions: Mapping[str, Position] | None = None,
        *,
        from_now: bool = False,
    ) -> None:
        self.session_id = session_id
        self.lagged = 0
        """Times a session that was LIVE had to be read from the store again, in one epoch."""
        self.lags: deque[Lag] = deque(maxlen=LAGS_MAX)
        """The latest of those; for the caller to take."""
        self.resets = 0
        """Times rows handed out before were no longer in the store."""
        self.garbage = 0
        """Frames that could not be read, or that the store knows nothing of."""
        self.synced = False
        """Whether the store has been heard once."""
        self._from_now = from_now
        self._tracks: dict[str, Track] = {}
        self._needs: dict[str, None] = {}
        self._taken: dict[str, Position] = {}
        self._ready: deque[tuple[str, Position, Run | None]] = deque()
        self._index = 0
        self._held_bytes = 0
        self._heads_wanted: HeadsWanted | None = HeadsWanted(session_id)
        self._ask_again = False
        self._beat: Heartbeat | None = None
        self._frames = 0
        for name, (epoch, sequence) in (positions or {}).items():
            if session_id in (None, name):
                self._tracks[name] = Track(epoch, sequence, epoch)
                self._taken[name] = (epoch, sequence)

    def wants(self) -> HeadsWanted | RowsWanted | None:
        """What to ask the store next. Only the answer to the last call may be fed back."""
        if self._heads_wanted is not None:
            return self._heads_wanted
        for session_id in self._needs:
            track = self._tracks[session_id]
            track.asked, track.dropped = len(track.held), False
            return RowsWanted(session_id, track.epoch, track.sequence)
        return None

    def postpone(self, session_id: str) -> None:
        """Ask for the rows of another session first: this one's could not be had."""
        if session_id in self._needs:
            del self._needs[session_id]
            self._needs[session_id] = None

    def take(self) -> SessionEvent | None:
        """The next row for the caller, or ``None`` until more is fed."""
        while self._ready:
            session_id, position, run = self._ready[0]
            if run is None:
                self._taken[session_id] = position
                self._ready.popleft()
                continue
            event = run.events[self._index]
            self._index += 1
            if self._index == len(run.events):
                self._ready.popleft()
                self._index = 0
            self._taken[session_id] = (event.epoch, event.sequence)
            return event
        return None

    def take_all(self) -> list[SessionEvent]:
        """All rows that :meth:`take` would hand out now."""
        events: list[SessionEvent] = []
        while self._ready:
            session_id, position, run = self._ready.popleft()
            if run is not None:
                events += run.events[self._index :] if self._index else run.events
                position, self._index = (run.epoch, run.last), 0
            self._taken[session_id] = position
        return events

    def cursor(self) -> str:
        """Everything after what :meth:`take` handed out, of what is followed."""
        return encode_cursor(self._taken)

    def phase(self, session_id: str) -> Phase:
        """What the machine does about a session; SYNCING for one it never met."""
        track = self._tracks.get(session_id)
        return track.phase if track else Phase.SYNCING

    def ask_heads(self) -> None:
        """Something may have been lost without a trace: compare with the store."""
        if self._heads_wanted is None:
            self._heads_wanted = HeadsWanted(self.session_id)
        else:
            self._ask_again = True  # what was answered so far may be older than the loss

    def on_frame(self, frame: RowsFrame) -> None:
        """Published rows arrived."""
        self._frames += 1
        session_id = frame.session_id
        if self.session_id not in (None, session_id):
            return
        track = self._track(session_id)
        if track.phase is not Phase.LIVE:
            self._hold(track, frame.body)
        elif not self._take_live(session_id, track, frame.body):
            return
        if self.synced:
            self._needs.setdefault(session_id)

    def on_heartbeat(self, beat: Heartbeat) -> bool:
        """The publisher says what it did. Returns whether it is another one than before."""
        before, self._beat = self._beat, beat
        frames, self._frames = self._frames, 0
        if before is None or before.instance != beat.instance:
            self.ask_heads()
            return before is not None
        lost = before.number + 1 != beat.number
        if beat.heads is None:
            one = self.session_id is not None
            lost = lost or one or before.frames + frames != beat.frames
        if lost:
            self.ask_heads()
        elif self.synced:
            for head in beat.heads or ():
                if self.session_id in (None, head.session_id):
                    self._compare(head)
        return False

    def on_heads(self, reply: HeadsReply) -> None:
        """The store says where sessions end."""
        for head in reply.heads:
            if self.session_id in (None, head.session_id):
                track = self._track(head.session_id)
                if self._from_now and track.phase is Phase.SYNCING:
                    track.epoch, track.sequence = head.epoch, head.sequence
                    track.confirmed = head.epoch
                    self._taken[head.session_id] = track.position
                self._compare(head)
        if reply.more and reply.heads:
            self._heads_wanted = HeadsWanted(self.session_id, reply.heads[-1].session_id)
            return
        self._heads_wanted = HeadsWanted(self.session_id) if self._ask_again else None
        self._from_now = self._ask_again = False
        self.synced = True
        # Met in a frame, but not among the heads: it began after they were read.
        for session_id, track in self._tracks.items():
            if track.phase is not Phase.LIVE and (track.held or track.dropped):
                self._needs.setdefault(session_id)

    def on_page(self, wanted: RowsWanted, page: RowsReply) -> None:
        """The store answered the last request.

        :raises BusProtocolError: the answer contradicts the request or itself; nothing changed.
        """
        track = self._tracks[wanted.session_id]
        if track.position != (wanted.epoch, wanted.sequence):
            return
        check_page(wanted, page)
        if page.reset:
            if track.resets_in_a_row == RESETS_IN_A_ROW_MAX:
                raise BusProtocolError(f'rows of "{wanted.session_id}": reset again and again')
            track.resets_in_a_row += 1
            self.resets += 1
            track.epoch, track.sequence = start_of(wanted, page)
            self._ready.append((wanted.session_id, track.position, None))
        for run in page.runs:
            self._queue(wanted.session_id, track, run)
        if track.sequence >= page.head_sequence:
            track.confirmed = max(page.head_epoch, track.epoch)
            track.resets_in_a_row = 0
            self._drain(wanted.session_id, track)

    def _track(self, session_id: str) -> Track:
        track = self._tracks.get(session_id)
        if track is None:
            track = self._tracks[session_id] = Track()
            # Nothing of it was handed out, so its first row can be taken as it comes.
            track.phase = Phase.LIVE if self.synced else Phase.SYNCING
        return track

    def _compare(self, head: Head) -> None:
        track = self._track(head.session_id)
        at_head = (track.confirmed, track.sequence) == (head.epoch, head.sequence)
        if at_head or (track.sequence == 0 and head.sequence == 0):
            track.confirmed = head.epoch
            if track.phase is Phase.SYNCING:
                self._drain(head.session_id, track)
        elif head.session_id not in self._needs:
            self._needs[head.session_id] = None
            if track.phase is Phase.LIVE:
                same = head.epoch == track.confirmed
                track.phase = Phase.LAGGING if same else Phase.FENCED
                if same:
                    self._note_lag(head.session_id, track)

    def _take_live(self, session_id: str, track: Track, body: bytes) -> bool:
        """Queue a frame's rows; whether the store has to be asked for what they do not follow."""
        phase = self._advance(session_id, track, body)
        if phase is not Phase.LIVE:
            self._hold(track, body)
        elif not track.dropped:
            return False
        track.phase = Phase.FENCED if phase is Phase.FENCED else Phase.LAGGING
        if track.phase is Phase.LAGGING:
            self._note_lag(session_id, track)
        return True

    def _note_lag(self, session_id: str, track: Track) -> None:
        self.lagged += 1
        self.lags.append(Lag(session_id, track.epoch, track.sequence))

    def _advance(self, session_id: str, track: Track, body: bytes) -> Phase:
        """Queue what continues the session; LIVE when nothing of the body is left to wait for."""
        try:
            runs = runs_of(session_id, body)
        except BusProtocolError:
            self.garbage += 1
            track.dropped = True
            return Phase.LIVE
        for run in runs:
            phase = self._step(session_id, track, run)
            if phase is not Phase.LIVE:
                return phase
        return Phase.LIVE

    def _step(self, session_id: str, track: Track, run: Run) -> Phase:
        if run.epoch < track.confirmed:
            return Phase.LIVE
        if run.epoch > track.confirmed:
            if run.first != 1:
                return Phase.FENCED if track.confirmed else Phase.LAGGING
            self.resets += track.sequence > 0
            track.confirmed, track.sequence = run.epoch, 0
        had = track.sequence + 1 - run.first
        if had < 0:
            return Phase.LAGGING
        if had < len(run.events):
            self._queue(session_id, track, Run(run.epoch, run.first + had, run.events[had:]))
        return Phase.LIVE

    def _queue(self, session_id: str, track: Track, run: Run) -> None:
        self._ready.append((session_id, track.position, run))
        track.epoch, track.sequence = run.epoch, run.last

    def _hold(self, track: Track, body: bytes) -> None:
        if self._held_bytes + len(body) > HELD_BYTES_MAX:
            self._let_go(track, len(track.held))
            track.dropped = True
        if self._held_bytes + len(body) <= HELD_BYTES_MAX:
            track.held.append(body)
            self._held_bytes += len(body)

    def _let_go(self, track: Track, count: int) -> None:
        for _ in range(count):
            self._held_bytes -= len(track.held.popleft())
        track.asked = max(track.asked - count, 0)

    def _drain(self, session_id: str, track: Track) -> None:
        """The store was read to its end: join the frames that arrived meanwhile."""
        phase = Phase.LIVE
        while track.held:
            phase = self._advance(session_id, track, track.held[0])
            if phase is not Phase.LIVE:
                if not track.asked:
                    break
                # It arrived before the store was asked, so the store should have had it.
                self.garbage += 1
            self._let_go(track, 1)
            phase = Phase.LIVE
        track.phase = Phase.LAGGING if phase is Phase.LIVE and track.dropped else phase
        if track.phase is Phase.LIVE:
            self._needs.pop(session_id, None)
        else:
            self._needs.setdefault(session_id)
