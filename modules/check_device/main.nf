process CHECK_DEVICE {
    label 'process_gpu'
    // The node is not an input, so every run checks again.
    cache false

    input:
    val code

    output:
    tuple path('device.json'), val("${task.executor}"), val("${task.accelerator ? 'requested' : ''}")

    script:
    """
    check_device.py --output device.json
    """

    stub:
    """
    echo '{"gpu": "stub", "reason": "", "node": "stub"}' > device.json
    """
}
