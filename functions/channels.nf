// Every item of `left` with what the items of `right` with the same key hold: [meta, *left, *right]. The
// keys are made of each side's meta.
def match(left_key, right_key, left, right) {
    def keyed = right.map { item -> [right_key.call(item[0]), item.drop(1)] }
    return left
        .map { item -> [left_key.call(item[0]), item] }
        .combine(keyed, by: 0)
        .map { _key, item, more -> item + more }
}

// Every item once for each of the settings that a later step makes of those in its meta.
def withSettings(items, later) {
    return items.flatMap { item ->
        def now = item[0].settings
        later
            .findAll { settings -> settings.subMap(now.keySet()) == now }
            .collect { settings -> [item[0] + [settings: settings]] + item.drop(1) }
    }
}

// [meta, [file, ..]] of items [meta, file, .., number]: the files with the same meta, once there are as
// many as the number says, or at the end of the run, when a task of one failed.
def gather(items) {
    return items
        .map { meta, content, number -> [groupKey(meta, number), content] }
        .groupTuple(remainder: true)
        .map { key, contents -> [key.getGroupTarget(), contents] }
}
