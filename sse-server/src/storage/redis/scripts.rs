//! What runs in Redis, each as one step.

use std::fmt::Write;

/// What a script begins with: in which log we are, and where a channel ends in it.
///
/// A Redis that has lost everything looks like a new one; but who has used it before knows the mark
/// that is gone. Then ids go on from a floor, microseconds since 1970, that no id has reached
/// before: ids are not used twice, and every position of before is one at which events are missing.
///
/// Where a channel ends is written beside the mark too, in the same key, which goes as a whole or
/// not at all. If only a counter has gone (evicted, deleted, expired, restored from a copy), the
/// channel goes on from such a number of its own.
///
/// `ARGV`: the mark that is known, if any; what the mark begins with if there is none yet; the
/// floor to set if everything was lost.
pub(super) const LOG: &str = "
    local mark, floor = unpack(redis.call('HMGET', 'sse_server:log', 'mark', 'floor'))
    if not mark then
        mark, floor = ARGV[2] .. '-' .. ARGV[3], ARGV[1] == '' and '0' or ARGV[3]
        redis.call('HSET', 'sse_server:log', 'mark', mark, 'floor', floor)
    elseif ARGV[1] ~= '' and ARGV[1] ~= mark and floor == '0' then
        -- Somebody has come after the loss who did not know of it.
        floor = ARGV[3]
        redis.call('HSET', 'sse_server:log', 'floor', floor)
    end
    floor = tonumber(floor)
    local function counter(channel)
        return 'event_counter:' .. channel
    end
    local function set(channel, head)
        head = string.format('%.0f', head)
        redis.call('SET', counter(channel), head)
        redis.call('HSET', 'sse_server:log', 'head:' .. channel, head)
    end
    local function head(channel)
        local head = tonumber(redis.call('GET', counter(channel)) or 0)
        if not head then
            return head
        end
        local known = tonumber(redis.call('HGET', 'sse_server:log', 'head:' .. channel) or 0)
        if head < known then
            -- The counter alone has gone, or counts from 1 again.
            head = math.max(known, tonumber(ARGV[3])) + head
            set(channel, head)
        elseif head < floor then
            local count = head
            head = floor + count
            if count > 0 then
                -- Django counts from 1 after a loss. What it has published, or is about to store,
                -- are the first events of this log; they stay under their keys.
                set(channel, head)
                redis.call('HSET', 'sse_server:log', 'first:' .. channel, string.format('%.0f', count))
            end
        elseif head > known then
            set(channel, head)
        end
        return head
    end
    local no_number = 'ERR a key event_counter:… holds no number'
";

/// What the names of all keys begin with, put before them here: every command that a script calls
/// has its key first.
pub(super) fn prefixed(prefix: &str) -> String {
    // As escapes, so that no character of it ends the string.
    let prefix = prefix.bytes().fold(String::new(), |mut text, byte| {
        write!(text, "\\{byte:03}").expect("writing to a String cannot fail");
        text
    });
    format!(
        "local server = redis
        local redis = {{
            call = function(command, key, ...)
                return server.call(command, '{prefix}' .. key, ...)
            end,
            error_reply = server.error_reply,
        }}"
    )
}

/// Says where channels end. `ARGV`, from the fourth on: the channels.
pub(super) const HEADS: &str = "
    local heads = {}
    for i = 4, #ARGV do
        local head = head(ARGV[i])
        if not head then
            return redis.error_reply(no_number)
        end
        heads[#heads + 1] = head
    end
    return {mark, heads}";

/// Appends batches: all of them or, if a counter is not a number, nothing. Redis runs a script as
/// one step, so ids have no holes, and who sees a counter sees the events up to it.
///
/// `ARGV`, from the fourth on: milliseconds until an event expires; how many events a channel
/// keeps, or 0 for all; then of each batch its key, or nothing, the fingerprint, the number of
/// events, and channel and value of each. Answers for each batch whether its key was known, and
/// with that the fingerprint of old, and the ids.
pub(super) const APPEND: &str = "
    local heads = {}
    local batches = {}
    local at = 6
    while at <= #ARGV do
        local batch = { key = ARGV[at], first = at + 3, last = at + 2 + 2 * tonumber(ARGV[at + 2]) }
        if batch.key ~= '' then
            batch.known = redis.call('GET', 'sse_server:request:' .. batch.key)
        end
        if not batch.known then
            batch.fingerprint = ARGV[at + 1]
            for i = batch.first, batch.last, 2 do
                local channel = ARGV[i]
                heads[channel] = heads[channel] or head(channel)
                if not heads[channel] then
                    return redis.error_reply(no_number)
                end
            end
        end
        batches[#batches + 1] = batch
        at = batch.last + 1
    end
    local keep = tonumber(ARGV[5])
    local answers = {}
    for _, batch in ipairs(batches) do
        if batch.known then
            answers[#answers + 1] = 'known:' .. batch.known
        else
            local ids = {}
            for i = batch.first, batch.last, 2 do
                local channel = ARGV[i]
                local id = heads[channel] + 1
                heads[channel] = id
                local key = 'event:' .. channel .. ':'
                redis.call('SET', key .. string.format('%.0f', id), ARGV[i + 1], 'PX', ARGV[4])
                if keep > 0 and id > keep then
                    redis.call('UNLINK', key .. string.format('%.0f', id - keep))
                end
                ids[#ids + 1] = string.format('%.0f', id)
            end
            local answer = batch.fingerprint .. ':' .. table.concat(ids, ',')
            if batch.key ~= '' then
                redis.call('SET', 'sse_server:request:' .. batch.key, answer, 'PX', ARGV[4])
            end
            answers[#answers + 1] = 'new:' .. answer
        end
    end
    for channel, head in pairs(heads) do
        set(channel, head)
    end
    return {mark, answers}";
