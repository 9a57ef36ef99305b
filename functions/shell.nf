// What a command of this machine prints; nothing when it is absent, fails, or takes longer than ten seconds.
def outputOf(command) {
    try {
        def started = command.execute()
        started.waitForOrKill(10000)
        return started.exitValue() == 0 ? started.inputStream.text.trim() : ''
    }
    catch (IOException _absent) {
        return ''
    }
}
