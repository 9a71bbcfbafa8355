/* Counts what a queued MQTT 5 session holds, and does nothing else: the rival of `cityhub bench
 * ingest`. libmosquitto acknowledges each message on receipt; the hub only after COMMIT.
 *
 *   cc -O2 -o counter counter.c -lmosquitto
 *   counter PORT USER PASSWORD CLIENT_ID RECEIVE_MAXIMUM MESSAGES
 *
 * Prints one JSON object: messages, seconds from the first to the last, CPU seconds in all.
 */
#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

static long wanted, seen;
static double first, last;

static double now(void)
{
	struct timespec at;
	clock_gettime(CLOCK_MONOTONIC, &at);
	return at.tv_sec + at.tv_nsec / 1e9;
}

static double cpu(void)
{
	struct rusage used;
	getrusage(RUSAGE_SELF, &used);
	return used.ru_utime.tv_sec + used.ru_stime.tv_sec
		+ (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void on_message(struct mosquitto *client, void *context,
		const struct mosquitto_message *message, const mosquitto_property *properties)
{
	(void)context;
	(void)message;
	(void)properties;
	if (!seen)
		first = now();
	if (++seen == wanted) {
		last = now();
		mosquitto_disconnect(client);
	}
}

int main(int argc, char **argv)
{
	if (argc != 7) {
		fprintf(stderr, "counter PORT USER PASSWORD CLIENT_ID RECEIVE_MAXIMUM MESSAGES\n");
		return 2;
	}
	mosquitto_lib_init();
	struct mosquitto *client = mosquitto_new(argv[4], false, NULL);
	mosquitto_property *properties = NULL;
	wanted = atol(argv[6]);
	mosquitto_int_option(client, MOSQ_OPT_PROTOCOL_VERSION, MQTT_PROTOCOL_V5);
	mosquitto_int_option(client, MOSQ_OPT_RECEIVE_MAXIMUM, atoi(argv[5]));
	mosquitto_int_option(client, MOSQ_OPT_TCP_NODELAY, 1);
	mosquitto_username_pw_set(client, argv[2], argv[3]);
	mosquitto_message_v5_callback_set(client, on_message);
	mosquitto_property_add_int32(&properties, MQTT_PROP_SESSION_EXPIRY_INTERVAL, 3600);
	int failure = mosquitto_connect_bind_v5(client, "127.0.0.1", atoi(argv[1]), 60, NULL, properties);
	if (failure) {
		fprintf(stderr, "counter: %s\n", mosquitto_strerror(failure));
		return 1;
	}
	while (!mosquitto_loop(client, 1000, 1))
		;
	printf("{\"messages\": %ld, \"wall_s\": %.6f, \"cpu_s\": %.6f}\n", seen, last - first, cpu());
	return seen == wanted ? 0 : 1;
}
